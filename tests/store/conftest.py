"""Databases of the store's tests: a shared one for rows, an own one for changes of its schema.

And the way through a PgBouncer, for modules that have one as their fixture `bouncer`.
"""

import asyncio

import pytest

from ingest.store import migrations
from ingest.store.cluster import Cluster
from ingest.store.postgres import Postgres
from tests.conftest import OWN_DATABASE
from tests.store.events import empty
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import fetch, make_postgres


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """The module's database without any rows; its schema is nobody's to change."""
    asyncio.run(empty(shared_database_url))
    return shared_database_url


@pytest.fixture
def harmed_url(own_cluster: Cluster) -> str:
    """A migrated database in the Postgres that may be harmed."""
    return own_cluster.url(OWN_DATABASE)


@pytest.fixture
def pooled_url(bouncer: PgBouncer, database_url: str) -> str:
    """The test's database through the pooler; `database_url` is the way past it."""
    return bouncer.through(database_url)


@pytest.fixture
def pooled(pooled_url: str) -> Postgres:
    """The store's view of it."""
    return make_postgres(pooled_url)


@pytest.fixture
def two_apps_url(empty_url: str) -> str:
    """A migrated database with two apps, and no partition but the default one."""

    async def work() -> None:
        await migrations.migrate(make_postgres(empty_url))
        await fetch(empty_url, "INSERT INTO apps (name) VALUES ('one'), ('two')")

    asyncio.run(work())
    return empty_url
