"""How entries compare with ours: ratios of medians, the targets, and all of it as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from bench import machine
from bench.compare import sender
from bench.compare.entries import AIOHTTP, BATCH, BATCH_CONNECTIONS, COPY, FAST, ONCE
from bench.compare.rounds import Measured
from bench.load.database import DURABLE_SETTINGS
from bench.targets import Bound

RATE = "events_per_s"
CPU = "server_cpu_s_per_100k"
_FIGURES = ("events/s", "min to max", "ours is", "CPU-s", "Postgres", "p50 ms", "p99 ms", "sent by")
"""The columns of the table that hold figures."""
_US_PER_EVENT = 10.0
"""Microseconds an event, of a CPU-second per 100,000."""


class RatioTarget(NamedTuple):
    """A ratio of ours to somebody's that is to be reached, or a figure of ours by itself."""

    figure: str
    other: str
    """The entry that ours is divided by; empty for CPU in µs."""
    sense: Literal["at least", "at most"]
    by_connections: dict[int, float]
    ours: str = "ours"
    """The entry that is held to it; `ours` is the one that all others are compared with."""

    @property
    def label(self) -> str:
        """Return what is measured."""
        if not self.other:
            return f"server CPU µs per event: {self.ours}"
        what = "events/s" if self.figure == RATE else "server CPU per event"
        return f"{what}: {self.ours} / {self.other}"


class Reached(NamedTuple):
    """A target and what was measured."""

    label: str
    connections: int
    measured: float | None
    """A ratio, or a figure; None when an entry that it takes has no run that counts."""
    bound: str
    is_reached: bool


TARGETS = (
    RatioTarget(RATE, "aiohttp-fixed", "at least", {256: 4.0, 64: 2.0}),
    RatioTarget(RATE, "obvious", "at least", {256: 5.0, 64: 3.0}),
    RatioTarget(RATE, "fastapi", "at least", {256: 25.0, 64: 15.0}),
    RatioTarget(RATE, "uvloop-fixed", "at least", {256: 0.5, 64: 0.4}),
    RatioTarget(CPU, "obvious", "at most", {256: 0.20, 64: 0.27}),
    RatioTarget(RATE, COPY, "at least", {BATCH_CONNECTIONS: 0.8}, BATCH),
    RatioTarget(CPU, "", "at most", {BATCH_CONNECTIONS: 3.0}, BATCH),
)


class Comparison:
    """All that was measured, and how entries compare with ours."""

    def __init__(
        self, measured: Sequence[Measured], settings: Mapping[str, str], workers: int = 1
    ) -> None:
        # COPY alone comes last: it is a ceiling of another kind.
        self.measured = sorted(measured, key=lambda each: each.connections == ONCE)
        self._settings = dict(settings)
        self.workers = workers
        """Of our server."""
        self._by_key = {(each.entry, each.connections): each for each in measured}
        names = {each.entry for each in measured}
        self.ours = FAST if FAST in names else AIOHTTP
        """The entry that the others are compared with."""

    @property
    def void_runs(self) -> list[str]:
        """Return a line for each run that doesn't count, and for settings that void them all."""
        not_durable = [
            f"all: {name} is {self._settings.get(name)}"
            for name in DURABLE_SETTINGS
            if self._settings.get(name) != "on"
        ]
        return not_durable + [
            f"{each.label}, {each.connections} connections, round {number}: {'; '.join(run.void)}"
            for each in self.measured
            for number, run in enumerate(each.runs, 1)
            if run.void
        ]

    def ratio(self, figure: str, other: str, connections: int, ours: str = "") -> float | None:
        """Return ours divided by another's, of medians; None when there is nothing to divide."""
        top = self._median(figure, ours or self._ours_at(connections), connections)
        bottom = self._median(figure, other, connections)
        return top / bottom if top and bottom else None

    def targets(self) -> list[Reached]:
        """Return every target whose entries took part."""
        return [
            self._reach(target, connections)
            for target in TARGETS
            for connections in target.by_connections
            if self._find(self._held(target), connections)
            and (not target.other or self._find(target.other, connections))
        ]

    def _reach(self, target: RatioTarget, connections: int) -> Reached:
        measured = self._measure(target, connections)
        bound = Bound(target.sense, target.by_connections[connections])
        return Reached(target.label, connections, measured, str(bound), bound.admits(measured))

    def _measure(self, target: RatioTarget, connections: int) -> float | None:
        ours = self._held(target)
        if target.other:
            return self.ratio(target.figure, target.other, connections, ours)
        figure = self._median(target.figure, ours, connections)
        return figure * _US_PER_EVENT if figure else None

    def _held(self, target: RatioTarget) -> str:
        return self.ours if target.ours == "ours" else target.ours

    def _ours_at(self, connections: int) -> str:
        """Return the entry that those with so many connections are compared with."""
        is_batch = not self._by_key.get((self.ours, connections))
        return BATCH if is_batch and connections == BATCH_CONNECTIONS else self.ours

    def _find(self, entry: str, connections: int) -> Measured | None:
        return self._by_key.get((entry, connections)) or self._by_key.get((entry, ONCE))

    def _median(self, figure: str, entry: str, connections: int) -> float | None:
        found = self._find(entry, connections)
        return found.median(figure) if found else None

    def as_json(self) -> dict[str, Any]:
        """Return medians, spreads and all runs."""
        return {
            "machine": machine.describe(),
            "postgres": self._settings,
            "ours": self.ours,
            "workers": self.workers,
            "entries": [self._entry(each) for each in self.measured],
            "targets": [each._asdict() for each in self.targets()],
            "void": self.void_runs,
        }

    def _entry(self, each: Measured) -> dict[str, Any]:
        return {
            "entry": each.entry,
            "label": each.label,
            "promise": each.promise,
            "connections": each.connections,
            "median": {figure: each.median(figure) for figure in (RATE, CPU)},
            "sender": each.sender,
            "is_bound_by_client": sender.is_bound(each.good),
            "ours_to_this": self.ratio(RATE, each.entry, each.connections),
            "runs": msgspec.to_builtins(each.runs),
        }
