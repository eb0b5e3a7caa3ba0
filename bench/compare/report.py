"""A comparison on the screen: a table for each number of connections, the targets, what is void."""

from collections.abc import Sequence

from rich.table import Table

from bench import console, interpreter, targets
from bench.compare import sender
from bench.compare.comparison import CPU, RATE, Comparison, Reached
from bench.compare.entries import ONCE
from bench.compare.rounds import Measured
from bench.console import Console

_FIGURES = ("events/s", "min to max", "ours is", "CPU-s", "Postgres", "p50 ms", "p99 ms", "sender")


def show(screen: Console, comparison: Comparison) -> None:
    """Print the table, the targets, and what is void."""
    screen.print(f"{interpreter.build()}; one without PGO costs a tenth more an event")
    for connections in sorted({each.connections for each in comparison.measured} - {ONCE}):
        screen.print(_table(comparison, connections))
    if senders := {each.sender for each in comparison.measured} - {""}:
        screen.print(sender.explain(senders), style="dim")
    if reached := comparison.targets():
        screen.print(_targets_table(reached))
    console.show_void(screen, comparison.void_runs)


def _table(comparison: Comparison, connections: int) -> Table:
    workers = comparison.workers
    where = "server on one core" if workers == 1 else f"ours with {workers} workers"
    title = f"{connections} connections, {where}; CPU-seconds per 100,000"
    table = console.table(title, ("", "its 200 means"), _FIGURES)
    for column in table.columns[-len(_FIGURES) :]:
        column.no_wrap = True
    for each in comparison.measured:
        if each.connections in {connections, ONCE}:
            table.add_row(_label(each), each.promise, *_cells(comparison, each, connections))
    return table


def _label(each: Measured) -> str:
    bound = "\n[yellow]bound by the client[/yellow]" if sender.is_bound(each.good) else ""
    return each.label + bound


def _cells(comparison: Comparison, each: Measured, connections: int) -> list[str]:
    spread = each.spread(RATE)
    if spread is None:
        return ["[red]void"]
    middle, low, high = spread
    ratio = comparison.ratio(RATE, each.entry, connections)
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
    rows = []
    for each in reached:
        measured = f"{each.measured:.2f}" if each.measured else "void"
        cells = (each.label, str(each.connections), measured, each.bound)
        rows.append((cells, each.is_reached))
    return targets.table(("", "connections", "measured", "target"), rows)
