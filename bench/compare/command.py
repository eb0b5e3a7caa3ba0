"""The command `compare`: round after round, then the tables, the chart and the verdict."""

import sys
from pathlib import Path

import click

from bench import console, servers
from bench.compare import charts, entries, report, rounds
from bench.compare import sender as senders
from bench.compare.comparison import Comparison
from bench.load import database


@click.command()
@click.option(
    "--rounds", "count", default=5, type=click.IntRange(1), help="Interleaved; medians count."
)
@click.option("--seconds", default=5.0, type=click.FloatRange(0.1), help="Of each run.")
@click.option("--warm-up", default=1.0, type=click.FloatRange(0), help="Seconds before that.")
@click.option(
    "--connections", default=(64, 256), multiple=True, type=click.IntRange(1), help="Repeatable."
)
@click.option("--only", multiple=True, metavar="NAME", help="Only this entry. Repeatable.")
@click.option(
    "--sender",
    default=senders.AUTO,
    type=click.Choice(senders.CHOICES),
    help="Of single POSTs. auto: wrk where it is installed, or else our own client.",
)
@servers.workers_option
@click.option(
    "--out",
    default=Path("bench/results"),
    type=click.Path(path_type=Path, file_okay=False),
    help="Where compare.json and compare.png go.",
)
def compare(  # noqa: PLR0913 - one for each option
    *,
    count: int,
    seconds: float,
    warm_up: float,
    connections: tuple[int, ...],
    only: tuple[str, ...],
    sender: str,
    workers: int,
    out: Path,
) -> None:
    """Run our server, its peers and its ceilings against each other, on this machine.

    Entries: ours-fast, ours-aiohttp, obvious, fastapi, aiohttp-fixed, uvloop-fixed, ours-batch,
    ours-batch-minimal, copy; and ours-batch-ndjson, by name only.
    """
    screen = console.make()
    planned = rounds.plan(entries.choose(only), count, connections)
    with rounds.set_up(seconds, warm_up, workers, senders.choose(sender)) as setup:
        settings = database.settings(setup.database_url)
        with console.progress(screen, "", len(planned)) as update:
            measured = rounds.measure(setup, planned, update)
    comparison = Comparison(measured, settings, workers)
    report.show(screen, comparison)
    out.mkdir(parents=True, exist_ok=True)
    console.write_json(out / "compare.json", comparison.as_json())
    charts.save(comparison.measured, out / "compare.png")
    screen.print(f"saved {out / 'compare.json'} and {out / 'compare.png'}")
    if comparison.void_runs:
        sys.exit(console.VOID_EXIT_CODE)
