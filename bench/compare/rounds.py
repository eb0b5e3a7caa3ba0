"""The rounds of the comparison: every entry in turn, and what its trials found.

Rounds are interleaved, so that a machine that is slow for a minute is slow for everybody. Figures
are medians; what to look at is ratios.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import msgspec

from bench import machine, servers
from bench.compare.entries import Entry
from bench.compare.result import TrialResult
from bench.compare.setup import Setup
from bench.console import Update
from bench.load import database


class Measured(msgspec.Struct):
    """All runs of one entry with one number of connections."""

    entry: str
    label: str
    promise: str
    connections: int
    runs: list[TrialResult]
    events: int = 1

    @property
    def good(self) -> list[TrialResult]:
        """Return the runs that count."""
        return [run for run in self.runs if not run.void]

    @property
    def sender(self) -> str:
        """Return who sent; nothing for an entry that nobody sends."""
        return self.runs[0].sender if self.runs else ""

    def spread(self, figure: str) -> tuple[float, float, float] | None:
        """Return median, minimum and maximum of a TrialResult's figure; None when no run counts."""
        values = [getattr(run, figure) for run in self.good]
        return (median(values), min(values), max(values)) if values else None

    def median(self, figure: str) -> float | None:
        """Return the median of a TrialResult's figure over the runs that count."""
        spread = self.spread(figure)
        return spread[0] if spread else None


def plan(
    chosen: Sequence[Entry], rounds: int, connections: Sequence[int]
) -> list[tuple[Entry, int]]:
    """Return every run in order: round by round, each entry with each number of connections."""
    one_round = [
        (entry, entry.connections or number)
        for number in connections
        for entry in chosen
        if not entry.connections or number == connections[0]
    ]
    return one_round * rounds


def measure(setup: Setup, planned: Sequence[tuple[Entry, int]], update: Update) -> list[Measured]:
    """Run one after the other and move the bar along; return what each entry did."""
    found: dict[tuple[str, int], Measured] = {}
    for entry, connections in planned:
        update(description=f"{entry.label}, {connections} connections")
        measured = found.setdefault(
            (entry.name, connections),
            Measured(entry.name, entry.label, entry.promise, connections, [], entry.events),
        )
        measured.runs.append(entry.trial(setup, connections))
        update(advance=1)
    return list(found.values())


@contextmanager
def set_up(seconds: float, warm_up_s: float, workers: int, sender: str) -> Iterator[Setup]:
    """Run a Postgres for all trials, with its default settings."""
    cores = machine.split_cores(workers)
    with servers.temporary_postgres(cores.others) as database_url:
        yield Setup(
            database_url=database_url,
            key=servers.make_key(database_url),
            cores=cores,
            postgres_pid=database.find_postmaster(database_url),
            seconds=seconds,
            warm_up_s=warm_up_s,
            workers=workers,
            sender=sender,
        )
