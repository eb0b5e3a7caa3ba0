"""The command `insights`: questions of Postgres alone and of the archive, and what they cost."""

import sys
from functools import partial
from pathlib import Path

import click

from bench import console
from bench.insights import report, runner
from bench.insights.result import EVENTS
from bench.insights.runner import InsightsPlan


@click.command()
@click.option("--events", default=EVENTS, type=click.IntRange(1_000), help="To be asked about.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Interleaved; medians count.")
@click.option(
    "--load-seconds",
    default=10.0,
    type=click.FloatRange(0.1),
    help="Of each load, of which a round has three.",
)
@click.option(
    "--keep",
    "kept",
    type=click.Path(file_okay=False, path_type=Path),
    help="Fill the database in this directory, or use the one that is there.",
)
@console.json_option
def insights(
    *, events: int, rounds: int, load_seconds: float, kept: Path | None, json_path: Path | None
) -> None:
    """Ask every kind of question in SQL and of the archive, and what that costs who sends."""
    screen = console.make()
    plan = InsightsPlan(events, rounds, load_seconds, kept)
    on_asked = partial(report.show_questions, screen, events)
    found = runner.measure(plan, partial(console.progress, screen), on_asked)
    report.show(screen, found)
    if json_path is not None:
        console.write_json(json_path, found.as_json())
    if found.void:
        sys.exit(console.VOID_EXIT_CODE)
