"""Databases of the store's tests: a shared one for rows, an own one for changes of its schema.

And a second Postgres, to be stopped, hung and killed by one test after the other; and the way
through a PgBouncer, for modules that have one as their fixture `bouncer`.
"""

import asyncio
from collections.abc import Iterator

import pytest

from ingest.store.cluster import Cluster
from ingest.store.postgres import Postgres
from tests.conftest import prepare
from tests.store.events import empty
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import kill, make_postgres, running_cluster

_DATABASE = "spare"


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """The module's database without any rows; its schema is nobody's to change."""
    asyncio.run(empty(shared_database_url))
    return shared_database_url


@pytest.fixture(scope="session")
def _spare_for_all() -> Iterator[Cluster]:
    with running_cluster() as running:
        running.create_database(_DATABASE)
        asyncio.run(prepare(make_postgres(running.url(_DATABASE))))
        yield running


@pytest.fixture
def spare_cluster(_spare_for_all: Cluster) -> Iterator[Cluster]:
    """A Postgres to do harm to; it is up again for the next test."""
    yield _spare_for_all
    # Resumed it might first do what it was told while it hung, such as to stop, and be gone later.
    kill(_spare_for_all)
    _spare_for_all.start()


@pytest.fixture
def spare_url(spare_cluster: Cluster) -> str:
    """A migrated database in it, which other tests leave events and keys in."""
    return spare_cluster.url(_DATABASE)


@pytest.fixture
def pooled_url(bouncer: PgBouncer, database_url: str) -> str:
    """The test's database through the pooler; `database_url` is the way past it."""
    return bouncer.through(database_url)


@pytest.fixture
def pooled(pooled_url: str) -> Postgres:
    """The store's view of it."""
    return make_postgres(pooled_url)
