"""A run of `outage` on the screen: both outages, the replay, and the targets."""

from typing import Final

from bench import console, targets
from bench.console import Console
from bench.outage.result import Outage, OutageResult

_LATENCIES: Final = ("p50", "p99", "max")


def show(screen: Console, found: OutageResult) -> None:
    """Print both outages, the replay, the targets, or why it does not count."""
    title = f"{found.connections} connections, {found.rate_per_s:,.0f} requests/s"
    figures = ("first 202 ms", *(f"{name} ms" for name in _LATENCIES), "first 200 after, s")
    table = console.table(title, ("Postgres",), figures, ("answers meanwhile",))
    for label, outage in (("killed", found.killed), ("hung", found.hung)):
        for row in _rows(label, outage):
            table.add_row(*row)
    screen.print(table)
    drain = found.drain
    screen.print(
        f"ingest {found.ingest_per_s:,.0f} events/s; without Postgres {drain.fill_per_s:,.0f}; "
        f"replay [bold]{drain.per_s:,.0f}[/bold] ({drain.spooled:,} events, "
        f"{drain.spool_bytes / 1e6:,.0f} MB)"
    )
    console.show_void(screen, found.void)
    if not found.void:
        screen.print(f"{found.acknowledged:,} acknowledged events are in Postgres, each once")
        rows = (
            ((each.name, each.wanted, each.measured), each.is_reached) for each in found.targets
        )
        screen.print(targets.table(("", "wanted", "seen"), rows))


def _rows(label: str, outage: Outage) -> list[list[str]]:
    """Return the rows of an outage: before it, during it, and once the senders had caught up."""
    statuses = console.statuses(outage.statuses)
    first_202 = "none" if outage.first_202_s is None else f"{outage.first_202_s * 1000:,.1f}"
    first_200 = "none" if outage.first_200_s is None else f"{outage.first_200_s:.2f}"
    settled = f"{label}, from {outage.caught_up_s:.2f} s on"
    return [
        [f"before it is {label}", "", *_latencies(outage.before_ms), "", ""],
        [label, first_202, *_latencies(outage.during_ms), first_200, statuses],
        [settled, "", *_latencies(outage.settled_ms), "", ""],
    ]


def _latencies(latency_ms: dict[str, float]) -> list[str]:
    return [f"{latency_ms[name]:,.2f}" for name in _LATENCIES]
