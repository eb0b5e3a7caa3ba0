"""What the tests of Citus share: a migrated database over all nodes, one a module, and its apps."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from bench.citus import Node
from tests.conftest import make_key, new_migrated
from tests.support.citus import Citus
from tests.support.postgres import fetch

_NODE_OF_APPS = (
    "SELECT apps.id, nodeport FROM apps JOIN citus_shards ON shardid ="
    " get_shard_id_for_distribution_column('events', apps.id)"
    " WHERE table_name = 'events'::regclass"
)
APPS = 12


class App(NamedTuple):
    """One whose events are on a known node."""

    id: int
    key: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Citus."""
    for item in items:
        if "tests/citus/" in item.path.as_posix():
            item.add_marker(pytest.mark.citus)


@pytest.fixture
def nodes(citus: Citus) -> Iterator[Citus]:
    """Citus for a test that kills or hangs its nodes, all of which run again behind it."""
    yield citus
    citus.start()


@pytest.fixture(scope="module")
def citus_url(citus: Citus) -> Iterator[str]:
    """A migrated database that the tests of a module share."""
    with new_migrated(citus) as url:
        yield url


@pytest.fixture(scope="module")
def apps(citus: Citus, citus_url: str) -> dict[Node, list[App]]:
    """Some apps of each worker, by the worker that holds their events."""
    keys = [make_key(citus_url, f"app-{number}") for number in range(APPS)]
    ports = dict(asyncio.run(fetch(citus_url, f"{_NODE_OF_APPS} ORDER BY apps.id")))
    held = {
        node: [App(id_, keys[id_ - 1]) for id_, port in ports.items() if port == node.port]
        for node in citus.workers
    }
    assert all(held.values())
    return held
