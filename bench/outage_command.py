"""The command `python -m bench outage`."""

import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console

_VOID_EXIT_CODE = 3
_WIDTH = 120


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
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures here.")
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
    from bench import outage as outages  # noqa: PLC0415 - so that the client loads less
    from bench import outage_findings as finding  # noqa: PLC0415

    plan = outages.Plan(connections, rate, seconds, events, commit_timeout_s)
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    with console.status("starting") as status:
        found = outages.measure(plan, status.update)
    finding.show(console, found)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(found.as_json())) + b"\n")
    if found.void:
        sys.exit(_VOID_EXIT_CODE)
