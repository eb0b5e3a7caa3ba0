"""The processes of one life of the server: those of the session that its supervisor leads.

One of them stays in it when the supervisor is gone, whoever its parent is then.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import Final, NamedTuple

import psutil

_PROCESSES: Final = Path("/proc")
_ENDED: Final = frozenset("ZX")
_STILL: Final = _ENDED | frozenset("Tt")
_POLL_S: Final = 0.01
_STILL_POLL_S: Final = 0.001
_STILL_S_MAX: Final = 2.0


class _Stat(NamedTuple):
    """What is read of a process."""

    session: int
    state: str
    started: int


def members(leader: int) -> list[int]:
    """Return the living processes of a session but for its leader, the oldest first."""
    found = []
    for pid in psutil.pids():
        stat = _stat(pid)
        if stat and stat.session == leader != pid and stat.state not in _ENDED:
            found.append((stat.started, pid))
    return [pid for _, pid in sorted(found)]


def arguments(pid: int) -> list[str]:
    """Return what a process was started with; nothing for one that is gone."""
    with suppress(OSError):
        return (_PROCESSES / str(pid) / "cmdline").read_text(errors="replace").split("\0")[:-1]
    return []


def is_alive(pid: int) -> bool:
    """Whether a process is there that has not ended."""
    stat = _stat(pid)
    return stat is not None and stat.state not in _ENDED


def send(pids: Iterable[int], number: Signals) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_until_gone(pids: Iterable[int], timeout_s: float) -> list[int]:
    """Wait for the end of all; return those that are there when the time is over."""
    left, end_s = list(pids), time.monotonic() + timeout_s
    while left := [pid for pid in left if is_alive(pid)]:
        if time.monotonic() > end_s:
            break
        time.sleep(_POLL_S)
    return left


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 if it is gone."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def waited_ns(pid: int) -> int:
    """Return how long a process's first thread has waited for the CPU so far; 0 if it is gone."""
    with suppress(OSError):
        return int((_PROCESSES / str(pid) / "schedstat").read_text().split()[1])
    return 0


def wait_until_still(pid: int) -> None:
    """Wait until a process that was sent SIGSTOP runs no more."""
    end_s = time.monotonic() + _STILL_S_MAX
    while (stat := _stat(pid)) and stat.state not in _STILL and time.monotonic() < end_s:
        time.sleep(_STILL_POLL_S)


def clients(pid: int, port: int) -> list[int]:
    """Return the ports of all whose connections to a port a process has taken."""
    with suppress(psutil.NoSuchProcess):
        connections = psutil.Process(pid).net_connections("tcp")
        return [each.raddr[1] for each in connections if each.raddr and each.laddr[1] == port]
    return []


def _stat(pid: int) -> _Stat | None:
    """Read `proc_pid_stat(5)`; None for a process that is gone."""
    try:
        text = (_PROCESSES / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Stat(int(fields[3]), fields[0], int(fields[19]))
