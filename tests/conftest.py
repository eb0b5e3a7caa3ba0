"""Fixtures: one Postgres a session, one migrated database a test, real server processes."""

import asyncio
import gc
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from ingest.app.database import make_partitions
from ingest.config import Config
from ingest.store import api_keys, migrations, upkeep
from ingest.store.cluster import Cluster
from ingest.store.key_limits import KeyLimits
from ingest.store.postgres import Postgres
from tests.share.others import Other, running_other, shared_file
from tests.support.browser import browser, visit  # noqa: F401 - fixtures
from tests.support.citus import Citus, running_citus
from tests.support.postgres import (
    TEMPLATE,
    copy_database,
    drop_databases,
    kill,
    make_postgres,
    new_database,
    running_cluster,
)
from tests.support.server import Server, running_server

_CONNECT = {"_parse_connect_dsn_and_args", "_dot_postgresql_path", "_read_password_file"}
OWN_DATABASE = "own"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests be run on another engine than usual."""
    parser.addoption("--citus", action="store_true", help="on the Citus that CITUS_URL leads to")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among the tests: a fifth of the time that it takes to find them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, or skip, what is not for the lane or the engine that was asked for."""
    if "FAST_LANE" in os.environ:
        has_both = [each for each in items if each.get_closest_marker("both_lanes")]
        config.hook.pytest_deselected(items=has_both)
        items[:] = [each for each in items if not each.get_closest_marker("both_lanes")]
    if config.getoption("citus"):
        for item in items:
            if (marker := item.get_closest_marker("not_on_citus")) is not None:
                item.add_marker(pytest.mark.skip(reason=marker.args[0]))


@pytest.fixture(scope="session")
def citus() -> Iterator[Citus]:
    """The Citus of CITUS_URL; the test is skipped where there is none."""
    with running_citus() as running:
        yield running


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A Postgres for the whole session, durable as in production."""
    if request.config.getoption("citus"):
        yield request.getfixturevalue("citus")
        return
    with running_prepared_cluster() as running:
        yield running


@contextmanager
def running_prepared_cluster() -> Iterator[Cluster]:
    """Run a new cluster with a migrated database to copy."""
    with running_cluster() as running:
        running.create_database(TEMPLATE)
        asyncio.run(prepare(make_postgres(running.url(TEMPLATE))))
        yield running


@contextmanager
def new_migrated(cluster: Cluster) -> Iterator[str]:
    """Make a migrated database and yield its URL: a copy, where there is one to copy."""
    with new_database(cluster) as url:
        if isinstance(cluster, Citus):
            asyncio.run(prepare(make_postgres(url)))
        yield url


async def prepare(postgres: Postgres) -> None:
    """Migrate a database, and make its partitions and what else a server makes in time."""
    await migrations.migrate(postgres)
    await make_partitions(Config(), postgres).ensure()
    await upkeep.complete(postgres)


@pytest.fixture(scope="session")
def _cluster_to_harm() -> Iterator[Cluster]:
    with running_prepared_cluster() as running:
        yield running


@pytest.fixture
def own_cluster(_cluster_to_harm: Cluster) -> Iterator[Cluster]:
    """A Postgres to be stopped, hung or killed by one test after the other.

    With a migrated database of the test's own.
    """
    _cluster_to_harm.start("max_connections=300")
    drop_databases(_cluster_to_harm, but=TEMPLATE)
    copy_database(_cluster_to_harm, OWN_DATABASE)
    yield _cluster_to_harm
    # Resumed it might first do what it was told while it hung, such as to stop, and be gone later.
    kill(_cluster_to_harm)


@pytest.fixture
def new_cluster() -> Iterator[Cluster]:
    """A Postgres of the test's own, which has done nothing yet."""
    with running_cluster() as running:
        yield running


@pytest.fixture
def database_url(cluster: Cluster) -> Iterator[str]:
    """A migrated database of the test's own."""
    with new_migrated(cluster) as url:
        yield url


@pytest.fixture
def own_url(cluster: Cluster) -> Iterator[str]:
    """A migrated database of the test's own, whose schema and settings it may change."""
    with new_migrated(cluster) as url:
        yield url


@pytest.fixture
def empty_url(cluster: Cluster) -> Iterator[str]:
    """A database in which nothing was ever made."""
    with new_database(cluster, template="template0") as url:
        yield url


@pytest.fixture
def postgres(database_url: str) -> Postgres:
    """The store's view of the test's database."""
    return make_postgres(database_url)


def make_key(url: str, app: str = "test", limits: KeyLimits | None = None) -> str:
    """Make an API key; for tests that are not async."""

    async def work() -> str:
        async with make_postgres(url).session() as connection:
            return await api_keys.create(connection, app, "", None, limits=limits)

    return asyncio.run(work())


@pytest.fixture
def descriptor() -> Iterator[int]:
    """What this process and others of one server share."""
    with shared_file() as made:
        yield made


@pytest.fixture
def other(descriptor: int) -> Iterator[Other]:
    """Another process of that server."""
    with running_other(descriptor) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file of the test's own."""
    return tmp_path / "own.toml"


class StartServer(Protocol):
    """Starts a server on a database, with settings by their dotted key."""

    def __call__(self, url: str, *, key: str | None = None, **settings: object) -> Server:
        """Write `server__port=1` for `server.port`; without a key one is made."""


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def start(url: str, *, key: str | None = None, **settings: object) -> Server:
            dotted = {name.replace("__", "."): value for name, value in settings.items()}
            arguments = ("--database-url", url)
            return stack.enter_context(running_server(arguments, key or make_key(url), dotted))

        yield start


@pytest.fixture
def server(database_url: str, start_server: StartServer) -> Server:
    """A server of the test's own, on a database of the test's own (`database_url`)."""
    return start_server(database_url)


@pytest.fixture(scope="module")
def shared_database_url(cluster: Cluster) -> Iterator[str]:
    """A migrated database that the tests of a module share."""
    with new_migrated(cluster) as url:
        yield url


@pytest.fixture(scope="module")
def shared_server(shared_database_url: str) -> Iterator[Server]:
    """A server that the tests of a module share, for tests that leave it as it was."""
    arguments = ("--database-url", shared_database_url)
    with running_server(arguments, make_key(shared_database_url)) as running:
        yield running


@pytest.fixture(autouse=True)
def blockbuster(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Fail a test of ours in which something blocks the event loop."""
    if not request.node.get_closest_marker("asyncio"):
        yield None
        return
    with blockbuster_ctx("ingest") as found:
        # asyncpg looks for certificates and a password file, small and local, while it connects.
        for name in ("os.stat", "io.BufferedReader.read", "io.TextIOWrapper.read"):
            found.functions[name].can_block_in("asyncpg/connect_utils.py", _CONNECT)
        yield found
