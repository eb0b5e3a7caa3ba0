"""One app's flood fills the queue or the spool, and leaves the others their acks."""

import asyncio
import json
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import requests

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer, make_key
from tests.http.checks import locked_events
from tests.support.postgres import fetch
from tests.support.server import Server, books_balance, wait_for, wait_until_drained

DOCUMENT = json.dumps([{"event_name": "flood", "event_params": {"a": "x" * 500}}] * 250)
EVENTS = 20
PREFER = "respond-async, return=minimal"


def send_flood(server: Server) -> int:
    """Post a document and wait for nobody; return the answer's status."""
    headers = {"X-API-Key": server.key, "Content-Type": "application/json", "Prefer": PREFER}
    return requests.post(f"{server.url}/events", DOCUMENT, headers=headers, timeout=60).status_code


def flood(server: Server) -> list[int]:
    """Post documents until several are refused one after the other; return all statuses."""
    statuses: list[int] = []
    while statuses[-5:] != [503] * 5:
        statuses.append(send_flood(server))
        assert len(statuses) < 1_000, "nothing is ever full"
    return statuses


def post_all(pool: ThreadPoolExecutor, server: Server, key: str) -> list[Future[int]]:
    """Have another app send events, each on a connection of its own."""

    def post() -> int:
        return server.post({"event_name": "neighbour"}, **{"X-API-Key": key}).status_code

    return [pool.submit(post) for _ in range(EVENTS)]


def queued(server: Server) -> float:
    """Return how many events wait or are in a COPY."""
    return server.metrics()["nonito_queue_events"]


def test_full_queue_takes_another_app_s_events_and_brings_them_first(
    database_url: str, start_server: StartServer
) -> None:
    """The flood is told 503; what it has there is committed behind its neighbour's events."""
    key = make_key(database_url, "neighbour")
    server = start_server(
        database_url,
        spool__enabled="false",
        queue__events_max=10_000,
        writer__batch_events_max=500,
        writer__commit_timeout_s=10,
    )
    with ThreadPoolExecutor(EVENTS) as pool:
        with locked_events(database_url):
            statuses_of_flood = flood(server)
            full = queued(server)
            neighbours = post_all(pool, server, key)
            wait_for(lambda: queued(server) == full + EVENTS)
        statuses = [each.result() for each in neighbours]
    wait_for(lambda: queued(server) == 0, 60)
    assert set(statuses_of_flood) == {202, 503}
    assert statuses == [200] * EVENTS
    rows = asyncio.run(fetch(database_url, "SELECT event_name AS name FROM events ORDER BY xact"))
    order = [row["name"] for row in rows]
    assert order.count("flood") == statuses_of_flood.count(202) * 250
    last = len(order) - order[::-1].index("neighbour")
    assert last < len(order) // 2
    assert books_balance(server.metrics()) == 0


@pytest.mark.slow
def test_full_spool_takes_another_app_s_events(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """While Postgres is away; all that was acknowledged is stored once it is back."""
    url = own_cluster.url(OWN_DATABASE)
    key = make_key(url, "neighbour")
    server = start_server(url, spool__bytes_max=8 << 20, queue__events_max=10_000)
    own_cluster.stop()
    wait_for(lambda: send_flood(server) == 202)
    wait_for(lambda: server.metrics()["nonito_postgres_up"] == 0)
    while server.metrics()["nonito_spool_has_room"]:
        send_flood(server)
    with ThreadPoolExecutor(EVENTS) as pool:
        neighbours = post_all(pool, server, key)
        send_flood(server)
        statuses = [each.result() for each in neighbours]
    ready = server.get("/readyz").status_code
    own_cluster.start()
    wait_until_drained(server, 60)
    assert statuses == [202] * EVENTS
    assert ready == 200
    rows = asyncio.run(fetch(url, "SELECT count(*) FROM events WHERE event_name = 'neighbour'"))
    assert rows[0]["count"] == EVENTS
    assert books_balance(server.metrics()) == 0
