"""Servers for the tests of HTTP, with time-outs that a test can wait for."""

from collections.abc import Iterator

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import make_key
from tests.support.postgres import new_database
from tests.support.server import LANES, Server, running_server

QUICK = {
    "limits.head_timeout_s": 0.5,
    "limits.body_timeout_s": 0.5,
    "limits.idle_timeout_s": 1.5,
}


@pytest.fixture(scope="module")
def http_url(cluster: Cluster) -> Iterator[str]:
    """A database for the tests of a module."""
    with new_database(cluster) as url:
        yield url


@pytest.fixture(scope="module")
def http_server(http_url: str) -> Iterator[Server]:
    """A server for the tests of a module, with short time-outs."""
    with running_server(("--database-url", http_url), make_key(http_url), QUICK) as running:
        yield running


@pytest.fixture(scope="module")
def lane_settings() -> dict[str, float]:
    """Settings of the servers of `lane`; for modules that want some."""
    return {}


@pytest.fixture(scope="module", params=LANES)
def lane(
    request: pytest.FixtureRequest, cluster: Cluster, lane_settings: dict[str, float]
) -> Iterator[Server]:
    """A server with the fast lane, and then one without."""
    settings = {**lane_settings, "server.fast_lane": request.param}
    with (
        new_database(cluster) as url,
        running_server(("--database-url", url), make_key(url), settings) as running,
    ):
        yield running
