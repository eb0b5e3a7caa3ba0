"""The command `retention`: a month of events goes under load, and what senders see of it."""

import sys
from pathlib import Path

import click

from bench import console, targets
from bench.retention import runner
from bench.retention.runner import RetentionPlan


@click.command()
@click.option("--connections", default=64, type=click.IntRange(1), help="Senders.")
@click.option(
    "--events", default=20_000_000, type=click.IntRange(1), help="Of the month that goes whole."
)
@click.option("--rows", default=200_000, type=click.IntRange(1), help="That go row by row.")
@console.json_option
def retention(*, connections: int, events: int, rows: int, json_path: Path | None) -> None:
    """Drop a month of events while others are sent: what senders see of it."""
    screen = console.make()
    with screen.status("starting") as status:
        found = runner.measure(RetentionPlan(connections, events, rows), status.update)
    names = ("p50", "p99", "p99.9", "max")
    title = f"{connections} connections; {events:,} events, {found.partition_bytes / 1e9:,.1f} GB"
    table = console.table(title, ("",), [f"{name} ms" for name in names])
    for label, latency_ms in (
        ("before", found.before_ms),
        ("while the month goes", found.going_ms),
        (f"while rows go, {found.rows_per_s:,.0f} a second", found.deleting_ms),
    ):
        table.add_row(label, *(f"{latency_ms[name]:,.2f}" for name in names))
    screen.print(table)
    screen.print(console.statuses(found.statuses), f"load average {found.load_average:.1f}")
    rows_of = (((each.name, each.wanted, each.measured), each.is_reached) for each in found.targets)
    screen.print(targets.table(("", "wanted", "seen"), rows_of))
    if json_path is not None:
        console.write_json(json_path, found.as_json())
    if not all(each.is_reached for each in found.targets):
        sys.exit(1)
