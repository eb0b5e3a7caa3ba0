"""The command `load`: find or start what is to be loaded, load it, compare, and say what came."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from bench import console, servers
from bench.console import Console
from bench.errors import BenchError
from bench.load import payloads, pool, report, verify
from bench.load.pool import Job, Run
from bench.load.site import Site, make_job, prepare
from bench.load.verify import Verification

_RATE_WINDOW_S = 0.5
_SHOWN_EVERY_S = 1.0
"""It is drawn on a core that the run needs: four times a second cost 1 % of one."""


@click.command()
@click.option("--url", help="A running server's address. Default: start one.")
@click.option("--key", help="Its API key. Default: make one in the database.")
@click.option("--database-url", help="Its Postgres. Default: a temporary one.")
@click.option("--connections", default=64, type=click.IntRange(1, 20_000), help="How many.")
@click.option(
    "--rate",
    default=0.0,
    type=click.FloatRange(0),
    help="Open loop: this many requests a second are due, whatever the server does, and latency "
    "counts from when each was due. 0: closed loop, each connection waits for its answer.",
)
@click.option("--seconds", default=10.0, type=click.FloatRange(0.1), help="How long to measure.")
@click.option("--warm-up", default=1.0, type=click.FloatRange(0), help="Seconds before that.")
@click.option("--processes", default=1, type=click.IntRange(1, 64), help="Of the load client.")
@servers.workers_option
@click.option("--payload", default="example", help="'example', 'mix', or an NDJSON file of events.")
@click.option("--verify", is_flag=True, help="Compare with Postgres; a run that fails is void.")
@console.json_option
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="Draw a PNG here.")
def load(  # noqa: PLR0913 - one for each option
    *,
    url: str | None,
    key: str | None,
    database_url: str | None,
    connections: int,
    rate: float,
    seconds: float,
    warm_up: float,
    processes: int,
    workers: int,
    payload: str,
    verify: bool,
    json_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Load a server with single POSTs, and say what it does."""
    screen = console.make()
    events = payloads.load(payload)
    with prepare(url, key, database_url, workers) as site:
        job = replace(
            make_job(site, events),
            connections=connections,
            rate=rate,
            seconds=seconds,
            warm_up_s=warm_up,
            processes=processes,
        )
        run, verification = (
            _run_and_compare(site, job, screen) if verify else (_run(job, screen), None)
        )
    report.show(screen, run, verification)
    if json_path is not None:
        console.write_json(json_path, report.as_json(run, verification))
    if plot_path is not None:
        from bench.load import plots  # noqa: PLC0415 - matplotlib takes half a second

        plots.save_run(run, plot_path)
    if verification is not None and not verification.is_good:
        sys.exit(console.VOID_EXIT_CODE)


def _run_and_compare(site: Site, job: Job, screen: Console) -> tuple[Run, Verification]:
    """Run a load that keeps what was acknowledged, and compare that with Postgres."""
    if site.database_url is None:
        raise BenchError("--verify needs --database-url")
    with tempfile.TemporaryDirectory(prefix="nonito-bench-acks-") as directory:
        run = _run(replace(job, acknowledged=Path(directory)), screen)
        with screen.status("comparing with Postgres"):
            return run, verify.verify(site.database_url, run)


def _run(job: Job, screen: Console) -> Run:
    """Run a load with a progress bar, which shows how many answers a second come."""
    with _progress(screen, job) as on_progress:
        return pool.run(job, on_progress)


@contextmanager
def _progress(screen: Console, job: Job) -> Iterator[pool.OnProgress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]:>9,.0f} answers/s"),
        TimeRemainingColumn(),
    )
    last = [0.0, 0.0, 0.0]
    shown_s = [0.0]
    with console.progress_of(screen, columns, "loading", job.total_s, {"rate": 0.0}) as update:

        def follow(elapsed_s: float, answers: int) -> None:
            since_s = elapsed_s - last[0]
            if since_s >= _RATE_WINDOW_S:
                last[:] = [elapsed_s, answers, (answers - last[1]) / since_s]
            if elapsed_s - shown_s[0] >= _SHOWN_EVERY_S:
                shown_s[0] = elapsed_s
                update(completed=elapsed_s, rate=last[2], refresh=True)

        yield follow
