"""What becomes of an SDK's events when server or Postgres go away while they are sent."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, make_key
from tests.sdks.conftest import rows_of
from tests.support.postgres import kill
from tests.support.server import Server, running_server, wait_for, wait_until_drained

pytestmark = pytest.mark.slow

HERE: Final = Path(__file__).parent
SDKS: Final = ("segment", "rudder", "posthog", "amplitude")
COUNT: Final = 150
AWAY_S: Final = 1.0
"""PostHog's tries for seven seconds, the others for longer."""
TIMEOUT_S: Final = 90


@contextmanager
def sending(sdk: str, url: str, key: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have an SDK send; at the end it has."""
    command = [sys.executable, "-W", "ignore", str(HERE / "many.py"), sdk, url, key, str(COUNT)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()


def numbers(url: str) -> Counter[int]:
    """Return how often each event is stored, by its number."""
    return Counter(row["params"]["n"] for row in rows_of(url, "events"))


def serving(url: str, key: str, port: int = 0, **settings: object) -> Iterator[Server]:
    """Run a server, on a port if that is said."""
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    with running_server(("--database-url", url), key, dotted, port=port) as server:
        yield server


@pytest.mark.parametrize("sdk", SDKS)
def test_server_that_is_killed_and_comes_back_has_each_event_once(
    database_url: str, sdk: str
) -> None:
    """What had no answer is sent again; what was stored without one is not stored again."""
    key = make_key(database_url)
    serve = contextmanager(serving)
    with serve(database_url, key) as first:
        port = first.port
        with sending(sdk, first.url, key):
            wait_for(lambda: len(numbers(database_url)) > COUNT // 5, 30)
            first.kill()
            time.sleep(AWAY_S)
            with serve(database_url, key, port):
                wait_for(lambda: len(numbers(database_url)) == COUNT, TIMEOUT_S)
    assert numbers(database_url) == Counter(range(COUNT))


@pytest.mark.parametrize(
    ("sdk", "spool"), [("segment", "true"), ("segment", "false"), ("posthog", "false")]
)
def test_postgres_that_goes_away_costs_no_event(own_cluster: Cluster, sdk: str, spool: str) -> None:
    """They are spooled; or, where there is no spool, refused with a 503 and sent again."""
    url = own_cluster.url(OWN_DATABASE)
    key = make_key(url)
    with contextmanager(serving)(url, key, spool__enabled=spool) as server:
        with sending(sdk, server.url, key):
            wait_for(lambda: len(numbers(url)) > COUNT // 5, 30)
            kill(own_cluster)
            time.sleep(AWAY_S)
            own_cluster.start("max_connections=300")
            wait_for(lambda: len(numbers(url)) == COUNT, TIMEOUT_S)
        if spool == "true":
            wait_until_drained(server)
    assert numbers(url) == Counter(range(COUNT))
