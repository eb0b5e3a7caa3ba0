"""The command `audit`: faults from a seed, and whether every promise was kept all the same."""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import uvloop
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from bench import console
from bench.audit import report, runner
from bench.audit.failpoints import BUG_VARIABLE
from bench.audit.nemesis import choose
from bench.audit.plan import AuditPlan, AuditProgress, AuditResult, OnAuditProgress
from bench.console import Console
from ingest.supervisor import insights

_BROKEN_EXIT_CODE = 1
_CLUSTER = "cluster"


@click.command()
@click.option("--seed", type=int, help="Repeat a run's faults. Default: a new one.")
@click.option("--faults", default=1_000, type=click.IntRange(0), help="At least so many.")
@click.option("--events", default=500_000, type=click.IntRange(1), help="Acknowledged, at least.")
@click.option("--seconds", default=0.0, type=click.FloatRange(0), help="At most; 0: no limit.")
@click.option("--connections", default=48, type=click.IntRange(8, 1_000), help="Clients.")
@click.option("--workers", default=1, type=click.IntRange(1, 16), help="Of each server.")
@click.option("--servers", default=1, type=click.IntRange(1, 4), help="On one Postgres.")
@click.option(
    "--archive/--no-archive",
    "has_archive",
    default=None,
    help="Whether the servers keep an archive, and is asked. Default: where it can.",
)
@click.option(
    "--citus",
    "citus_url",
    default="",
    help="Of a coordinator of Citus with workers, a superuser's (bench/citus.py): its nodes are"
    " killed as well. Default: a Postgres of its own.",
)
@click.option("--only", multiple=True, metavar="FAULT", help="Only this kind. Repeatable.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write findings here.")
@click.option("--keep", is_flag=True, help="Keep the history and the server's log in any case.")
def audit(  # noqa: PLR0913 - one for each option
    *,
    seed: int | None,
    faults: int,
    events: int,
    seconds: float,
    connections: int,
    workers: int,
    servers: int,
    has_archive: bool | None,
    citus_url: str,
    only: tuple[str, ...],
    json_path: Path | None,
    keep: bool,
) -> None:
    """Kill, hang and cut everything, and check that nothing acknowledged is lost or doubled.

    The exit code is 1 when any promise is broken.
    """
    choose(only)
    plan = AuditPlan(
        secrets.randbits(32) if seed is None else seed,
        faults,
        events,
        seconds,
        connections,
        only,
        os.environ.get(BUG_VARIABLE, ""),
        workers,
        has_archive=insights.is_installed() if has_archive is None else has_archive,
        servers=servers,
        citus_url=citus_url,
    )
    screen = console.make()
    result = perform(plan, screen, is_kept=keep)
    report.show(screen, result)
    if json_path is not None:
        console.write_json(json_path, report.as_json(result))
    if not result.is_good:
        sys.exit(_BROKEN_EXIT_CODE)


def perform(plan: AuditPlan, screen: Console, *, is_kept: bool) -> AuditResult:
    """Run with a progress bar; keep the history where something was broken; raise BenchError."""
    directory = Path(tempfile.mkdtemp(prefix="nonito-audit-"))
    directory.chmod(0o711)  # as root, Postgres runs under another account
    is_good = False
    try:
        with _bar(screen, plan) as on_progress:
            result = uvloop.run(runner.run(plan, directory, on_progress))
        is_good = result.is_good
        return result
    finally:
        shutil.rmtree(directory / _CLUSTER, ignore_errors=True)
        if is_good and not is_kept:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            screen.print(f"history and log are in {directory}")


@contextmanager
def _bar(screen: Console, plan: AuditPlan) -> Iterator[OnAuditProgress]:
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    said = f"seed {plan.seed}"
    with console.progress_of(screen, columns, "starting", 1.0, {"said": said}) as update:

        def follow(done: AuditProgress) -> None:
            shares = (done.faults / (plan.faults or 1), done.acked / plan.events)
            said = (
                f"{done.faults:,} faults, {done.acked:,} acknowledged, "
                f"{done.spool_events:,.0f} in the spool"
            )
            update(description=done.current or "calm", completed=min(shares), said=said)

        yield follow
