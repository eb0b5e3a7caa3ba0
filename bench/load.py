"""The `load` command's course: find or start what is to be loaded, run, audit."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bench import crew, database, machine, servers, verify
from bench.crew import Job, Run
from bench.errors import BenchError
from bench.payloads import Payload
from bench.servers import Target
from bench.verify import Books

_RATE_WINDOW_S = 0.5
_SHOWN_EVERY_S = 1.0
"""It is drawn on a core that the run needs: four times a second cost 1 % of one."""


@dataclass(frozen=True)
class Place:
    """What to load: given by its address, or our own when nothing is given."""

    url: str | None = None
    key: str | None = None
    database_url: str | None = None


@dataclass(frozen=True)
class Site:
    """What is loaded, found or started."""

    target: Target
    key: str
    database_url: str | None
    postgres_pid: int | None
    cores: frozenset[int]
    """Where the client is to run; empty for anywhere."""


@contextmanager
def site(place: Place) -> Iterator[Site]:
    """Find or start the server and its Postgres; raise BenchError."""
    cores = machine.split_cores()
    with ExitStack() as stack:
        if place.url is not None:
            yield _given(place, place.url)
            return
        database_url = place.database_url
        if database_url is None:
            database_url = stack.enter_context(servers.temporary_postgres(cores.others))
        key = place.key or servers.make_key(database_url)
        target = stack.enter_context(servers.ours(database_url, cores.server, {}))
        yield Site(target, key, database_url, database.find_postmaster(database_url), cores.others)


def _given(place: Place, url: str) -> Site:
    if place.key is None and place.database_url is None:
        raise BenchError("--url needs --key, or --database-url to make a key in")
    key = place.key or servers.make_key(place.database_url or "")
    pid = database.find_postmaster(place.database_url) if place.database_url else None
    return Site(servers.locate(url), key, place.database_url, pid, frozenset())


def run(site: Site, job: Job, console: Console) -> tuple[Run, Books | None]:
    """Run a load with a progress bar, and audit it if the job keeps what was acknowledged."""
    if job.acknowledged is not None and site.database_url is None:
        raise BenchError("--verify needs --database-url")
    with _progress(console, job) as on_progress:
        finished = crew.run(job, on_progress)
    if job.acknowledged is None or site.database_url is None:
        return finished, None
    with console.status("comparing with Postgres"):
        return finished, verify.audit(site.database_url, finished)


def make_job(site: Site, payloads: list[Payload]) -> Job:
    """Return a job for a site, with the defaults for the rest."""
    return Job(site.target, site.key, payloads, cores=site.cores, postgres_pid=site.postgres_pid)


@contextmanager
def keeping(job: Job) -> Iterator[Job]:
    """Let a job keep what was acknowledged, for the audit, in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="nonito-bench-acks-") as directory:
        yield replace(job, acknowledged=Path(directory))


@contextmanager
def _progress(console: Console, job: Job) -> Iterator[crew.OnProgress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]:>9,.0f} answers/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("loading", total=job.total_s, rate=0.0)
        last = [0.0, 0.0, 0.0]
        shown_s = [0.0]

        def follow(elapsed_s: float, answers: int) -> None:
            since_s = elapsed_s - last[0]
            if since_s >= _RATE_WINDOW_S:
                last[:] = [elapsed_s, answers, (answers - last[1]) / since_s]
            if elapsed_s - shown_s[0] >= _SHOWN_EVERY_S:
                shown_s[0] = elapsed_s
                progress.update(task, completed=elapsed_s, rate=last[2], refresh=True)

        yield follow
