"""What a comparison found: the table, the ratios with their targets, and all of it as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.compare import AIOHTTP, FAST, ONCE, Measured
from bench.database import DURABLE_SETTINGS

RATE = "events_per_s"
CPU = "server_cpu_s_per_100k"


class Target(NamedTuple):
    """A ratio of ours to somebody's that is to be reached."""

    figure: str
    other: str
    """The entry that ours is divided by."""
    sense: Literal["at least", "at most"]
    by_connections: dict[int, float]

    @property
    def label(self) -> str:
        """Return what the ratio is of."""
        what = "events/s" if self.figure == RATE else "server CPU per event"
        return f"{what}: ours / {self.other}"


class Reached(NamedTuple):
    """A target and what was measured."""

    label: str
    connections: int
    ratio: float | None
    """None when one of the two has no run that counts."""
    bound: str
    is_reached: bool


TARGETS = (
    Target(RATE, "aiohttp-fixed", "at least", {256: 3.0, 64: 1.7}),
    Target(RATE, "obvious", "at least", {256: 5.0, 64: 3.0}),
    Target(RATE, "fastapi", "at least", {256: 25.0, 64: 15.0}),
    Target(RATE, "uvloop-fixed", "at least", {256: 0.5, 64: 0.4}),
    Target(CPU, "obvious", "at most", {256: 0.20, 64: 0.27}),
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

    def ratio(self, figure: str, other: str, connections: int) -> float | None:
        """Return ours divided by another's, of medians; None when there is nothing to divide."""
        ours = self._by_key.get((self.ours, connections))
        theirs = self._by_key.get((other, connections)) or self._by_key.get((other, ONCE))
        top = ours.median(figure) if ours else None
        bottom = theirs.median(figure) if theirs else None
        return top / bottom if top and bottom else None

    def targets(self) -> list[Reached]:
        """Return every target whose two entries took part."""
        return [
            _reached(target, connections, self.ratio(target.figure, target.other, connections))
            for target in TARGETS
            for connections in target.by_connections
            if (self.ours, connections) in self._by_key
            and (target.other, connections) in self._by_key
        ]

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
            "ours_to_this": self.ratio(RATE, each.entry, each.connections),
            "runs": msgspec.to_builtins(each.runs),
        }


def show(console: Console, findings: Findings) -> None:
    """Print the table, the targets, and what is void."""
    for connections in sorted({each.connections for each in findings.measured} - {ONCE}):
        console.print(_table(findings, connections))
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
    for name in ("events/s", "min to max", "ours is", "CPU-s", "Postgres", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in findings.measured:
        if each.connections in {connections, ONCE}:
            table.add_row(each.label, each.promise, *_cells(findings, each, connections))
    return table


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
    ]


def _targets_table(reached: Sequence[Reached]) -> Table:
    table = Table(title="Targets", box=SIMPLE)
    for name in ("ratio", "connections", "measured", "target", ""):
        table.add_column(name)
    for each in reached:
        measured = f"{each.ratio:.2f}" if each.ratio else "void"
        verdict = "[green]passed" if each.is_reached else "[red]missed"
        table.add_row(each.label, str(each.connections), measured, each.bound, verdict)
    return table


def _reached(target: Target, connections: int, ratio: float | None) -> Reached:
    bound = target.by_connections[connections]
    if ratio is None:
        is_reached = False
    elif target.sense == "at least":
        is_reached = ratio >= bound
    else:
        is_reached = ratio <= bound
    return Reached(target.label, connections, ratio, f"{target.sense} {bound:g}", is_reached)
