"""What is loaded: a server given by its address, or our own, started for it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import machine, servers
from bench.errors import BenchError
from bench.load import database
from bench.load.payloads import Payload
from bench.load.pool import Job
from bench.servers import Endpoint


@dataclass(frozen=True)
class Site:
    """A server, found or started, and the Postgres behind it."""

    endpoint: Endpoint
    key: str
    database_url: str | None
    postgres_pid: int | None
    cores: frozenset[int]
    """Where the client is to run; empty for anywhere."""
    workers: int | None
    """Of the server; None if it is not known."""


@contextmanager
def prepare(
    url: str | None, key: str | None, database_url: str | None, workers: int
) -> Iterator[Site]:
    """Find the server at `url`, or start one, with a Postgres unless given; raise BenchError."""
    if url is not None:
        if workers > 1:
            raise BenchError("--workers is for a server that this starts, and --url finds one")
        yield _find(url, key, database_url)
        return
    cores = machine.split_cores(workers)
    with ExitStack() as stack:
        if database_url is None:
            database_url = stack.enter_context(servers.temporary_postgres(cores.others))
        key = key or servers.make_key(database_url)
        settings = {servers.WORKERS: workers}
        endpoint = stack.enter_context(servers.ours(database_url, cores.server, settings))
        pid = database.find_postmaster(database_url)
        yield Site(endpoint, key, database_url, pid, cores.others, workers)


def _find(url: str, key: str | None, database_url: str | None) -> Site:
    if key is None and database_url is None:
        raise BenchError("--url needs --key, or --database-url to make a key in")
    key = key or servers.make_key(database_url or "")
    pid = database.find_postmaster(database_url) if database_url else None
    endpoint = servers.locate(url)
    seen = len(servers.workers(endpoint)) or None
    return Site(endpoint, key, database_url, pid, frozenset(), seen)


def make_job(site: Site, payloads: list[Payload]) -> Job:
    """Return a job for a site, with the defaults for the rest."""
    return Job(
        site.endpoint,
        site.key,
        payloads,
        cores=site.cores,
        postgres_pid=site.postgres_pid,
        workers=site.workers,
    )
