"""The command `outage`: Postgres is taken away under load, and what senders see of it."""

import sys
from pathlib import Path

import click

from bench import console
from bench.outage import report, runner
from bench.outage.runner import OutagePlan


@click.command()
@click.option("--connections", default=64, type=click.IntRange(1), help="Senders.")
@click.option(
    "--rate",
    default=2_000.0,
    type=click.FloatRange(1),
    help="Requests a second that are due while Postgres is away, whatever the server does.",
)
@click.option("--seconds", default=10.0, type=click.FloatRange(0.1), help="Of each part.")
@click.option(
    "--events", default=500_000, type=click.IntRange(1), help="That fill the spool for the replay."
)
@click.option(
    "--commit-timeout",
    "commit_timeout_s",
    default=5.0,
    type=click.FloatRange(0.1),
    help="The server's writer.commit_timeout_s: what a hung Postgres costs once.",
)
@console.json_option
def outage(
    *,
    connections: int,
    rate: float,
    seconds: float,
    events: int,
    commit_timeout_s: float,
    json_path: Path | None,
) -> None:
    """Kill and hang Postgres under load: what senders see, and how fast the spool is drained."""
    screen = console.make()
    plan = OutagePlan(connections, rate, seconds, events, commit_timeout_s)
    with screen.status("starting") as status:
        found = runner.measure(plan, status.update)
    report.show(screen, found)
    if json_path is not None:
        console.write_json(json_path, found.as_json())
    if found.void:
        sys.exit(console.VOID_EXIT_CODE)
