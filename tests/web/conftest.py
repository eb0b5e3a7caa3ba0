"""A browser, and a server for the tests of a module."""

from collections.abc import Iterator

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import make_key
from tests.support.postgres import new_database
from tests.support.server import Server, running_server


@pytest.fixture(scope="module")
def web_url(cluster: Cluster) -> Iterator[str]:
    """A database that the browser tests of a module share."""
    with new_database(cluster) as url:
        yield url


@pytest.fixture(scope="module")
def web_server(web_url: str) -> Iterator[Server]:
    """A server that takes beacons, too."""
    settings = {"server.key_in_query": "true"}
    with running_server(("--database-url", web_url), make_key(web_url), settings) as running:
        yield running
