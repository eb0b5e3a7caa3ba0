"""Who sends the single POSTs of a comparison, and when that sender was the limit."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from bench.compare import wrk
from bench.compare.result import TrialResult
from bench.errors import BenchError

OWN: Final = "own"
WRK: Final = "wrk"
AUTO: Final = "auto"
CHOICES: Final = (AUTO, WRK, OWN)
BUSY_MAX: Final = 0.9
"""Of the core that sends: beyond it a rate may be the client's."""


def choose(asked: str) -> str:
    """Return who is to send; raise BenchError if that is wrk and it isn't there."""
    if asked == AUTO:
        return WRK if wrk.is_installed() else OWN
    if asked == WRK and not wrk.is_installed():
        raise BenchError("--sender wrk: it is not installed; on Debian, apt install wrk")
    return asked


def is_bound(runs: Sequence[TrialResult]) -> bool:
    """Return whether these runs were bound by the client, by the median of how busy it was."""
    busy = [run.sending_core_busy for run in runs if run.sender]
    return bool(busy) and median(busy) > BUSY_MAX


def describe(runs: Sequence[TrialResult]) -> str:
    """Return who sent and how busy its core was, for a table."""
    named = [run for run in runs if run.sender]
    if not named:
        return ""
    busy = median(run.sending_core_busy for run in named)
    return f"{named[0].sender} {busy:.0%}"


def explain(senders: set[str]) -> str:
    """Return a line for the table's foot."""
    if WRK in senders:
        return "single POSTs sent by wrk, batches by our own client"
    why = "" if wrk.is_installed() else ": wrk is not installed"
    return f"sent by our own client{why}; the targets of single POSTs are meant for wrk"
