"""What a comparison found: the table, the ratios with their targets, and all of it as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench import interpreter, machine, sender
from bench.compare import AIOHTTP, BATCH, BATCH_CONNECTIONS, COPY, FAST, ONCE, Measured
from bench.database import DURABLE_SETTINGS

RATE = "events_per_s"
CPU = "server_cpu_s_per_100k"
_FIGURES = ("events/s", "min to max", "ours is", "CPU-s", "Postgres", "p50 ms", "p99 ms", "sent by")
"""The columns of the table that hold figures."""
_US_PER_EVENT = 10.0
"""Microseconds an event, of a CPU-second per 100,000."""


class Target(NamedTuple):
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
    Target(RATE, "aiohttp-fixed", "at least", {256: 4.0, 64: 2.0}),
    Target(RATE, "obvious", "at least", {256: 5.0, 64: 3.0}),
    Target(RATE, "fastapi", "at least", {256: 25.0, 64: 15.0}),
    Target(RATE, "uvloop-fixed", "at least", {256: 0.5, 64: 0.4}),
    Target(CPU, "obvious", "at most", {256: 0.20, 64: 0.27}),
    Target(RATE, COPY, "at least", {BATCH_CONNECTIONS: 0.8}, BATCH),
    Target(CPU, "", "at most", {BATCH_CONNECTIONS: 3.0}, BATCH),
)


class Findings:
    """All that was measured, and how entries compare with ours."""

    def __init__(self, measured: Sequence[Measured], settings: Mapping[str, str]) -> None:
        # COPY alone comes last: it is a ceiling of another kind.
        self.measured = sorted(measured, key=lambda each: each.connections == ONCE)
        self._settings = dict(settings)
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
            _reached(target, connections, self._measure(target, connections))
            for target in TARGETS
            for connections in target.by_connections
            if self._find(self._held(target), connections)
            and (not target.other or self._find(target.other, connections))
        ]

    def _measure(self, target: Target, connections: int) -> float | None:
        ours = self._held(target)
        if target.other:
            return self.ratio(target.figure, target.other, connections, ours)
        figure = self._median(target.figure, ours, connections)
        return figure * _US_PER_EVENT if figure else None

    def _held(self, target: Target) -> str:
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


def show(console: Console, findings: Findings) -> None:
    """Print the table, the targets, and what is void."""
    console.print(f"{interpreter.build()}; one without PGO costs a tenth more an event")
    for connections in sorted({each.connections for each in findings.measured} - {ONCE}):
        console.print(_table(findings, connections))
    if senders := {each.sender for each in findings.measured} - {""}:
        console.print(sender.explain(senders), style="dim")
    if reached := findings.targets():
        console.print(_targets_table(reached))
    for line in findings.void_runs:
        console.print(f"[bold red]VOID[/bold red] {line}")


def _table(findings: Findings, connections: int) -> Table:
    table = Table(
        title=f"{connections} connections, server on one core; CPU-seconds per 100,000", box=SIMPLE
    )
    for name in ("", "its 200 means"):
        table.add_column(name)
    for name in _FIGURES:
        table.add_column(name, justify="right", no_wrap=True)
    for each in findings.measured:
        if each.connections in {connections, ONCE}:
            table.add_row(_label(each), each.promise, *_cells(findings, each, connections))
    return table


def _label(each: Measured) -> str:
    bound = "\n[yellow]bound by the client[/yellow]" if sender.is_bound(each.good) else ""
    return each.label + bound


def _cells(findings: Findings, each: Measured, connections: int) -> list[str]:
    spread = each.spread(RATE)
    if spread is None:
        return ["[red]void"]
    middle, low, high = spread
    ratio = findings.ratio(RATE, each.entry, connections)
    latencies = [
        [run.latency_ms[name] for run in each.good if run.latency_ms] for name in ("p50", "p99")
    ]
    return [
        f"[bold]{middle:,.0f}",
        f"{low:,.0f} to {high:,.0f}",
        f"{ratio:.2f} x" if ratio else "",
        f"{each.median(CPU):.2f}",
        f"{each.median('postgres_cpu_s_per_100k'):.2f}",
        *(f"{sorted(values)[len(values) // 2]:.2f}" if values else "" for values in latencies),
        sender.describe(each.good),
    ]


def _targets_table(reached: Sequence[Reached]) -> Table:
    table = Table(title="Targets", box=SIMPLE)
    for name in ("", "connections", "measured", "target", ""):
        table.add_column(name)
    for each in reached:
        measured = f"{each.measured:.2f}" if each.measured else "void"
        verdict = "[green]passed" if each.is_reached else "[red]missed"
        table.add_row(each.label, str(each.connections), measured, each.bound, verdict)
    return table


def _reached(target: Target, connections: int, measured: float | None) -> Reached:
    bound = target.by_connections[connections]
    if measured is None:
        is_reached = False
    elif target.sense == "at least":
        is_reached = measured >= bound
    else:
        is_reached = measured <= bound
    return Reached(target.label, connections, measured, f"{target.sense} {bound:g}", is_reached)
