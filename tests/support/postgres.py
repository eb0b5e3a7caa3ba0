"""Databases of the tests: each test that wants one gets its own, copied from a migrated one."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from ingest.store.cluster import SUPERUSER, Cluster
from ingest.store.embedded import find_programs
from ingest.store.postgres import Postgres
from tests.support.citus import Citus

_numbers = count(1)

TEMPLATE = "nonito_template"
_MEMORY = Path("/dev/shm")  # noqa: S108 - each cluster has a directory of its own there
_MEMORY_BYTES_MIN = 8 << 30


@contextmanager
def passable_directory() -> Iterator[Path]:
    """Make a directory with a short path, which the account of a Postgres of root's may pass."""
    directory = Path(tempfile.mkdtemp(prefix="nonito-test-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running_cluster(programs: Path | None = None) -> Iterator[Cluster]:
    """Run a new cluster in a short path, by default with the wheel's PostgreSQL 18."""
    directory = Path(tempfile.mkdtemp(prefix="nonito-test-", dir=_place()))
    cluster = Cluster(directory, programs or find_programs())
    cluster.create()
    cluster.start("max_connections=300")
    try:
        yield cluster
    finally:
        resume(cluster)
        if cluster.accepts():
            cluster.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)


def _place() -> Path | None:
    """Return the memory where there is much, else None: the default, below /tmp.

    Nothing here outlives its machine: what is killed are processes, and a third of all time went
    to the disk. The audit's Postgres is on one.
    """
    is_large = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES_MIN
    return _MEMORY if is_large else None


@contextmanager
def new_database(cluster: Cluster, template: str = TEMPLATE) -> Iterator[str]:
    """Copy a database and yield its URL; it is dropped afterwards, whoever still uses it."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    if isinstance(cluster, Citus):
        with _new_distributed(cluster, name):
            yield cluster.url(name)
        return
    copy_database(cluster, name, template)
    try:
        yield cluster.url(name)
    finally:
        cluster.start()
        _execute(cluster, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def _new_distributed(cluster: Citus, name: str) -> Iterator[None]:
    """Make an empty one, as one over several nodes can't be copied; drop it afterwards."""
    try:
        cluster.nodes.make_database(name)
        yield
    finally:
        cluster.start()
        cluster.nodes.drop_database(name)


def copy_database(cluster: Cluster, name: str, template: str = TEMPLATE) -> None:
    """Copy one file by file: page by page through the WAL takes more CPU."""
    _execute(cluster, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")


def _execute(cluster: Cluster, sql: str) -> None:
    """Run a statement as the superuser; a `psql` for each would be a third of what it takes."""
    asyncio.run(fetch(cluster.url(SUPERUSER), sql))


def drop_databases(cluster: Cluster, but: str) -> None:
    """Drop all but one of those that were made."""
    made = f"datname NOT IN ('{but}', '{SUPERUSER}') AND NOT datistemplate"
    for name in cluster.execute(f"SELECT datname FROM pg_database WHERE {made}").split():
        cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


def make_postgres(url: str, commit_timeout_s: float = 5.0) -> Postgres:
    """Return the store's view of a database, with the default time-outs."""
    return Postgres(url, connect_timeout_s=2.0, commit_timeout_s=commit_timeout_s)


async def fetch(url: str, sql: str, *arguments: object) -> list[Any]:
    """Run a query on a connection of its own."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return list(await connection.fetch(sql, *arguments))
    finally:
        await connection.close()


def processes(cluster: Cluster) -> list[psutil.Process]:
    """Return the postmaster and all its children; none when it does not run."""
    try:
        postmaster = psutil.Process(cluster.postmaster_pid)
    except (OSError, psutil.NoSuchProcess):
        return []
    return [postmaster, *postmaster.children(recursive=True)]


def _signal(cluster: Cluster, number: signal.Signals) -> None:
    for process in processes(cluster):
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def pause(cluster: Cluster) -> None:
    """Hang Postgres: every process of it is stopped (SIGSTOP)."""
    _signal(cluster, signal.SIGSTOP)


def resume(cluster: Cluster) -> None:
    """Let a hung Postgres go on."""
    _signal(cluster, signal.SIGCONT)


def kill(cluster: Cluster) -> None:
    """Kill every process of Postgres at once (SIGKILL) and wait until they are gone."""
    victims = processes(cluster)
    _signal(cluster, signal.SIGKILL)
    psutil.wait_procs(victims, timeout=10)


def meddle(url: str, action: str) -> None:
    """Let Postgres do something to what was just stored, behind the server's back."""
    function = (
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {action}; RETURN NULL; END $$"
    )
    trigger = (
        "CREATE TRIGGER meddle AFTER INSERT ON events REFERENCING NEW TABLE AS inserted"
        " FOR EACH STATEMENT EXECUTE FUNCTION meddle()"
    )
    for statement in (function, trigger):
        asyncio.run(fetch(url, statement))
