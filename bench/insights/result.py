"""What a run found, and what it is held to."""

import statistics
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bench import machine
from bench.insights.place import Archiving
from bench.load.database import DURABLE_SETTINGS
from bench.targets import Bound, Target

EVENTS: Final = 20_000_000
"""The targets are meant for so many."""
TIMES_FASTER: Final = Bound("at least", 10)
"""Than the same question in SQL, each."""
BYTES: Final = Bound("at most", 35)
"""On disk, for each event of the archive."""
ARCHIVED_PER_S: Final = Bound("at least", 120_000)
FRESH_S: Final = Bound("at most", 1)
P99: Final = Bound("at most", 1.5)
"""Of the acknowledgements, times that beside the stand-in."""
RATE: Final = Bound("at least", 0.85)
"""Of that beside the stand-in."""


class Asked(msgspec.Struct, frozen=True):
    """One kind of question, asked on both sides in each round."""

    name: str
    ours_s: list[float]
    ours_cpu_s: list[float]
    """Of the process that answers; holds still where the machine has other things to do."""
    sql_s: list[float]
    bound_s: float | None
    """How long ours may take."""
    differences: list[str]
    """Where the answers differ; empty if they are equal."""

    @property
    def times_faster(self) -> float:
        """Return how many times as long SQL took, as the median of the rounds."""
        pairs = zip(self.sql_s, self.ours_s, strict=True)
        return statistics.median(sql / ours for sql, ours in pairs)

    @property
    def targets(self) -> list[Target]:
        """Return what it is held to."""
        ours_s, faster = statistics.median(self.ours_s), self.times_faster
        found = [
            Target(
                f"{self.name}: SQL / ours",
                f"{faster:,.1f}",
                TIMES_FASTER.admits(faster),
                str(TIMES_FASTER),
            )
        ]
        if self.bound_s is not None:
            bound = Bound("at most", self.bound_s)
            found.insert(
                0, Target(f"{self.name}, s", f"{ours_s:.3f}", bound.admits(ours_s), str(bound))
            )
        return found


class Storage(msgspec.Struct, frozen=True):
    """What the events take on disk."""

    archived: int
    archive_bytes: int
    files: int
    stored: int
    postgres_bytes: int
    """With their indexes."""

    @property
    def bytes_an_event(self) -> float:
        """Return what each takes in the archive."""
        return self.archive_bytes / self.archived if self.archived else float("inf")


class Load(msgspec.Struct, frozen=True):
    """What a load met: with nobody beside it, with questions, or with a stand-in for them."""

    events_per_s: float
    p50_ms: float
    p99_ms: float
    questions: int
    cpu_share: float
    """Of a core, that the insights process or its stand-in used."""


class LoadRound(msgspec.Struct, frozen=True):
    """The three, one after the other."""

    alone: Load
    asked: Load
    beside: Load
    """Beside a process of the same CPU use and niceness that touches nothing."""

    @property
    def rate(self) -> float:
        """Return the rate under questions, of that beside the stand-in."""
        return self.asked.events_per_s / self.beside.events_per_s

    @property
    def p99(self) -> float:
        """Return the p99 under questions, times that beside the stand-in."""
        return self.asked.p99_ms / self.beside.p99_ms


class Found(msgspec.Struct, frozen=True):
    """All of it."""

    events: int
    asked: list[Asked]
    storage: Storage
    archiving: Archiving
    fresh_s: list[float]
    """Of each probe: from its 200 to the end of the first answer that it is in."""
    loads: list[LoadRound]
    faults: list[str]
    """Of the loads."""
    postgres: dict[str, str]
    """Its settings."""

    @property
    def archived_per_s(self) -> float:
        """Return how many events a second were archived, merging included."""
        return self.events / self.archiving.took_s

    @property
    def void(self) -> list[str]:
        """Return why it does not count: answers that differ, work that was not done."""
        differences = [f"{each.name}: {line}" for each in self.asked for line in each.differences]
        not_durable = [
            f"{name} is {self.postgres.get(name)}"
            for name in DURABLE_SETTINGS
            if self.postgres.get(name) != "on"
        ]
        return [*differences, *not_durable, *self.faults]

    @property
    def targets(self) -> list[Target]:
        """Return all that it is held to."""
        rate = statistics.median(each.rate for each in self.loads)
        p99 = statistics.median(each.p99 for each in self.loads)
        return [
            *(target for each in self.asked for target in each.targets),
            _target("bytes an event", self.storage.bytes_an_event, BYTES, ".1f"),
            _target("archived a second, one thread", self.archived_per_s, ARCHIVED_PER_S, ",.0f"),
            _target("from 200 to an answer, s, at most", max(self.fresh_s), FRESH_S, ".2f"),
            _target("acknowledgements' p99, asked / beside a stand-in", p99, P99, ".2f"),
            _target("their rate, asked / beside a stand-in", rate, RATE, ".2f"),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return figures and targets."""
        return {
            "machine": machine.describe(),
            **msgspec.to_builtins(self),
            "archived_per_s": self.archived_per_s,
            "bytes_an_event": self.storage.bytes_an_event,
            "medians": [_medians(each) for each in self.asked],
            "targets": [_verdict(each) for each in self.targets],
            "void": self.void,
        }


def _target(name: str, measured: float, bound: Bound, form: str) -> Target:
    return Target(name, format(measured, form), bound.admits(measured), str(bound))


def _medians(asked: Asked) -> dict[str, Any]:
    return {
        "name": asked.name,
        "ours_s": statistics.median(asked.ours_s),
        "ours_cpu_s": statistics.median(asked.ours_cpu_s),
        "sql_s": statistics.median(asked.sql_s),
        "times_faster": asked.times_faster,
    }


def _verdict(target: Target) -> dict[str, Any]:
    return {
        "target": target.name,
        "wanted": target.wanted,
        "measured": target.measured,
        "is_reached": target.is_reached,
    }


def median_of(loads: Sequence[Load]) -> Load:
    """Return the medians of several loads."""
    fields = {
        name: statistics.median(getattr(each, name) for each in loads)
        for name in Load.__struct_fields__
    }
    return Load(**fields)
