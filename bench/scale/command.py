"""The command `scale`: what a server does with 1, 2, 4 and 8 workers, each with part of a core."""

import sys
from pathlib import Path

import click

from bench import console
from bench.load import database
from bench.scale import report, runner
from bench.scale import throttle as throttles
from bench.scale.result import CONNECTIONS, Connections, Scale
from bench.scale.share import Share


@click.command()
@click.option("--rounds", default=5, type=click.IntRange(1), help="Interleaved; medians count.")
@click.option("--seconds", default=5.0, type=click.FloatRange(0.1), help="Of each run.")
@click.option("--warm-up", default=2.0, type=click.FloatRange(0), help="Seconds before that.")
@click.option(
    "--workers",
    "counts",
    default=(1, 2, 4, 8),
    multiple=True,
    type=click.IntRange(1, 256),
    help="Repeatable.",
)
@click.option("--connections", default=CONNECTIONS, type=click.IntRange(1), help="In all.")
@click.option(
    "--per-worker",
    is_flag=True,
    help="So many connections for each worker, instead of in all: what is left then is not batches "
    "that are smaller.",
)
@click.option(
    "--share", default=0.05, type=click.FloatRange(0.001, 1), help="Of a core, for each worker."
)
@click.option(
    "--slice-ms",
    default=5.0,
    type=click.FloatRange(1, 100),
    help="CPU time that a worker has in one piece.",
)
@click.option("--processes", default=1, type=click.IntRange(1, 64), help="Of the load client.")
@click.option(
    "--throttle",
    default=throttles.AUTO,
    type=click.Choice(throttles.CHOICES),
    help="How they are held to it. auto: control groups where they can be set, or else signals.",
)
@console.json_option
def scale(  # noqa: PLR0913 - one for each option
    *,
    rounds: int,
    seconds: float,
    warm_up: float,
    counts: tuple[int, ...],
    connections: int,
    per_worker: bool,
    share: float,
    slice_ms: float,
    processes: int,
    throttle: str,
    json_path: Path | None,
) -> None:
    """Measure what more workers are worth, each with the same share of a core."""
    screen = console.make()
    job = runner.blank_job(warm_up, seconds, processes)
    of = Connections(connections, per_worker=per_worker)
    planned = runner.plan(sorted(set(counts)), rounds)
    chosen, each = throttles.choose(throttle), Share(share, slice_ms / 1000)
    with runner.set_up(job, of, chosen, each) as bench:
        settings = database.settings(bench.database_url)
        with console.progress(screen, "", len(planned)) as update:
            runs = runner.measure(bench, planned, update)
    found = Scale(runs, of, each, chosen.name, settings)
    report.show(screen, found)
    if json_path is not None:
        console.write_json(json_path, found.as_json())
    if found.void:
        sys.exit(console.VOID_EXIT_CODE)
