"""What a run starts: a temporary Postgres with its default settings, and servers on top of it."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import click

from bench import machine
from bench.errors import BenchError
from ingest import config
from ingest.app.database import make_postgres, prepare
from ingest.config import Config
from ingest.errors import StartupError
from ingest.store import api_keys
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs

DATABASE = "bench"
FAST_LANE = "server.fast_lane"
WORKERS = "server.workers"
workers_option = click.option(
    "--workers", default=1, type=click.IntRange(1, 256), help="Of the server that is started."
)
_USUAL = {WORKERS: 1, "archive.enabled": False, "dashboard.enabled": False}
_ROOT = Path(__file__).parents[1]
_GREETING = "Listening on "
_STOP_TIMEOUT_S = 30.0
_LOG_SHOWN_CHARS = 2_000


@dataclass(frozen=True)
class Endpoint:
    """Where requests go."""

    host: str
    port: int
    pid: int | None = None
    """Of the server's first process, if it is one of this machine: of ours, the supervisor's."""


@contextmanager
def temporary_postgres(cores: frozenset[int]) -> Iterator[str]:
    """Run a new Postgres with durable default settings; yield the URL of an empty database."""
    with tempfile.TemporaryDirectory(prefix="nonito-bench-", ignore_cleanup_errors=True) as name:
        cluster = Cluster(Path(name), find_programs())
        try:
            with machine.pinned(cores):
                cluster.create()
                cluster.start()
            cluster.create_database(DATABASE)
            yield cluster.url(DATABASE)
        finally:
            if cluster.accepts():
                cluster.stop("immediate")
            shutil.rmtree(Path(name), ignore_errors=True)


@contextmanager
def prepared_postgres() -> Iterator[str]:
    """Run a new Postgres on any core; yield the URL of a database with the server's schema."""
    with temporary_postgres(frozenset(os.sched_getaffinity(0))) as url:
        asyncio.run(prepare(make_postgres(Config(), url), Config()))
        yield url


def cpu_s(endpoint: Endpoint) -> float:
    """Return the CPU time of a server's worker: its supervisor takes no events."""
    found = workers(endpoint)
    if not found:
        raise BenchError("the server has no worker")
    return sum(map(machine.cpu_clock_s, found))


def make_key(database_url: str, app: str = "bench") -> str:
    """Bring the database to the server's schema and make an API key of an app."""

    async def work() -> str:
        postgres = make_postgres(Config(), database_url)
        await prepare(postgres, Config())
        async with postgres.session() as connection:
            return await api_keys.create(connection, app, "python -m bench", None)

    try:
        return asyncio.run(work())
    except StartupError as error:
        raise BenchError(str(error)) from error


def has_fast_lane() -> bool:
    """Return whether this version of the server has two lanes to choose from."""
    return FAST_LANE in config.FIELDS


@contextmanager
def ours(
    database_url: str,
    cores: frozenset[int],
    settings: Mapping[str, object],
    checkout: Path = _ROOT,
) -> Iterator[Endpoint]:
    """Run our server on a free port, with settings by their dotted key; maybe another version."""
    arguments = ("-m", "ingest", "--database-url", database_url, "serve", "--port", "0")
    with serving(arguments, cores, settings, checkout) as (endpoint, _):
        yield endpoint


@contextmanager
def serving(
    arguments: Sequence[str],
    cores: frozenset[int],
    settings: Mapping[str, object],
    checkout: Path = _ROOT,
) -> Iterator[tuple[Endpoint, subprocess.Popen[bytes]]]:
    """Run a Python program that says "Listening on URL"; stopped at the end."""
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile() as log:
        with machine.pinned(cores):
            process = subprocess.Popen(  # noqa: S603 - our own programs
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=empty,  # where no config.toml lies
                env=environment(settings, checkout),
            )
        with process:
            try:
                yield _wait_until_ready(process, log), process
            finally:
                _stop(process)


def environment(settings: Mapping[str, object], checkout: Path = _ROOT) -> dict[str, str]:
    """Return this process's environment with these settings of the server and no others.

    It has one worker and no insights process unless they say otherwise: figures of one process can
    be compared.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("NONITO_") and name != "DATABASE_URL"
    }
    given = {
        f"NONITO_{key.replace('.', '_').upper()}": str(value).lower()
        for key, value in (_USUAL | dict(settings)).items()
    }
    return kept | given | {"PYTHONPATH": str(checkout)}


def locate(url: str) -> Endpoint:
    """Return the target of `--url`; raise BenchError."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    if parts.scheme not in {"", "http"} or not parts.hostname:
        raise BenchError(f"--url {url}: must be like http://127.0.0.1:8080")
    host, port = parts.hostname, parts.port or 80
    return Endpoint(host, port, _first_process(machine.listener(host, port)))


def workers(endpoint: Endpoint) -> list[int]:
    """Return the process ids of a server's workers by their numbers; none if it has none here."""
    found = [] if endpoint.pid is None else machine.children(endpoint.pid)
    numbered = [(number, pid) for pid in found if (number := _worker(pid)) is not None]
    return [pid for _, pid in sorted(numbered)]


def _worker(pid: int) -> int | None:
    """Return which worker of our server a process is; None if it is none."""
    match machine.command_line(pid):
        case [*_, "-m", "ingest", "worker", number]:
            return int(number)
    return None


def _first_process(listener: int | None) -> int | None:
    """Return the supervisor of a listening worker, and anybody else as it is."""
    if listener is None or _worker(listener) is None:
        return listener
    return machine.parent(listener)


def _wait_until_ready(process: subprocess.Popen[bytes], log: IO[bytes]) -> Endpoint:
    assert process.stdout is not None  # noqa: S101 - for the type checker
    first = process.stdout.readline().decode()
    if not first.startswith(_GREETING):
        log.seek(0)
        said = log.read().decode(errors="replace").strip()
        raise BenchError(f"a server did not start:\n{said[-_LOG_SHOWN_CHARS:]}")
    address = urlsplit(first.removeprefix(_GREETING).strip())
    return Endpoint(address.hostname or "127.0.0.1", address.port or 80, process.pid)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
