"""The metrics: all of them are there, they count what happened, and the metrics always balance."""

import asyncio
import platform
import re
import signal
import time
from collections import Counter
from contextlib import ExitStack

from prometheus_client.parser import text_string_to_metric_families

from ingest import __version__
from ingest.errors import Code
from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer, make_key
from tests.http.cases import EVENT, HOST, KEY, join, post
from tests.http.checks import locked_events, query
from tests.support.load import History, drive
from tests.support.postgres import fetch
from tests.support.raw import connected
from tests.support.server import Server, wait_for

CONNECTIONS = 32
SCRAPES = 20
KINDS = {
    "nonito_requests": "counter",
    "nonito_events_accepted": "counter",
    "nonito_events_committed": "counter",
    "nonito_events_refused": "counter",
    "nonito_batch_events": "histogram",
    "nonito_commit_seconds": "histogram",
    "nonito_event_wait_seconds": "histogram",
    "nonito_loop_lag_seconds": "histogram",
    "nonito_app_events_accepted": "counter",
    "nonito_connections_refused": "counter",
    "nonito_connections_open": "gauge",
    "nonito_requests_in_flight": "gauge",
    "nonito_spool_has_room": "gauge",
    "nonito_spool_free_bytes": "gauge",
    "nonito_partitions_ahead": "gauge",
    "nonito_postgres_connections": "gauge",
    "nonito_build_info": "gauge",
    "nonito_queue_events": "gauge",
    "nonito_queue_bytes": "gauge",
    "nonito_postgres_up": "gauge",
    "nonito_keys_loaded": "gauge",
    "process_resident_memory_bytes": "gauge",
    "process_cpu_seconds": "counter",
    "process_open_fds": "gauge",
}
REQUESTS = [
    (post(), "/event", 200, 3),
    (post(line=b"POST /%65vent HTTP/1.1"), "/event", 200, 1),
    (post(body=b"{"), "/event", 400, 2),
    (post(body=b"{}"), "/event", 400, 1),
    (post(body=b'{"event_name":1}'), "/event", 400, 1),
    (post().replace(KEY, b"wrong"), "/event", 401, 2),
    (join(b"GET /none HTTP/1.1", HOST), "other", 404, 1),
    (join(b"GET /event HTTP/1.1", HOST), "/event", 405, 1),
    (post(body=b"", length=b"Content-Length: 2000000"), "/event", 413, 1),
    (post().replace(b"application/json", b"text/plain"), "/event", 415, 1),
    (post(b"X-A : b"), "other", 400, 1),
    (post(b"X-A: " + b"b" * 9000), "other", 431, 1),
    (b"POST /ev", "other", 408, 1),
    (post(line=b"POST /events HTTP/1.1", body=b"[]"), "/events", 400, 1),
    (post(line=b"POST /events HTTP/1.1", body=b"[%b]" % EVENT), "/events", 200, 1),
    (join(b"GET /healthz HTTP/1.1", HOST), "/healthz", 200, 4),
    (join(b"GET /readyz HTTP/1.1", HOST), "/readyz", 200, 2),
    (join(b"GET / HTTP/1.1", HOST), "page", 200, 1),
    (join(b"GET /docs/docs.css HTTP/1.1", HOST), "page", 200, 1),
]
REJECTED = {
    "invalid_json": 2,
    "empty_batch": 1,
    "missing_event_name": 1,
    "invalid_event_name": 1,
    "invalid_api_key": 2,
    "payload_too_large": 1,
    "unsupported_media_type": 1,
}
Scrape = dict[str, float]


def rejected(scrape: Scrape, *, only: set[str] | None = None) -> dict[str, float]:
    """Return the counts of refused events that are not zero, by code."""
    prefix = "nonito_events_refused_total{"
    return {
        code: value
        for name, value in scrape.items()
        if name.startswith(prefix) and value
        for code in (name.removeprefix(prefix).removesuffix("}"),)
        if only is None or code in only
    }


def unbalanced_by(scrape: Scrape) -> float:
    """Return accepted - (committed + rejected after acceptance + in the queue).

    What is accepted by app is what is accepted.
    """
    assert sum(by_app(scrape).values()) == scrape["nonito_events_accepted_total"]
    after = rejected(scrape, only={"rejected_by_database", "database_error"})
    return (
        scrape["nonito_events_accepted_total"]
        - scrape["nonito_events_committed_total"]
        - scrape["nonito_queue_events"]
        - sum(after.values())
    )


def by_app(scrape: Scrape) -> dict[str, float]:
    """Return the counts of accepted events, by app."""
    prefix = "nonito_app_events_accepted_total{"
    return {name[len(prefix) : -1]: n for name, n in scrape.items() if name.startswith(prefix)}


def test_exposition_has_every_metric_with_its_kind(shared_server: Server) -> None:
    """What is documented is there, and every one of ours has a text."""
    answer = shared_server.get("/metrics")
    families = {each.name: each for each in text_string_to_metric_families(answer.text)}
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert {name: families[name].type for name in KINDS} == KINDS
    assert all(families[name].documentation for name in KINDS)
    codes = {sample.labels["code"] for sample in families["nonito_events_refused"].samples}
    assert codes == set(Code)


def test_requests_and_refusals_are_counted_as_they_were_answered(
    database_url: str, start_server: StartServer
) -> None:
    """Each answer by route and status, also of malformed and slow heads; refused events by code.

    No series begins with what is counted: all of them have been there with 0.
    """
    server = start_server(database_url, limits__head_timeout_s=0.5)
    first = server.metrics()
    assert set(counted(first).values()) == {0}
    expected: Counter[str] = Counter({"/metrics,200": 1})
    for request, route, status, times in REQUESTS:
        for _ in range(times):
            with connected(server.port) as client:
                answer = client.ask(request.replace(KEY, server.key.encode()))
            assert answer.status == status
            expected[f"{route},{status}"] += 1
    scrape = server.metrics()
    assert {name: value for name, value in counted(scrape).items() if value} == expected
    assert rejected(scrape) == REJECTED
    assert scrape["nonito_events_accepted_total"] == 5
    assert scrape.keys() == first.keys()


def counted(scrape: Scrape) -> dict[str, float]:
    """Return the counts of answers, by route and status."""
    prefix = "nonito_requests_total{"
    return {name[len(prefix) : -1]: n for name, n in scrape.items() if name.startswith(prefix)}


async def watch(server: Server, stop: asyncio.Event) -> list[Scrape]:
    """Scrape again and again, then have the load end."""
    scrapes = [await asyncio.to_thread(server.metrics) for _ in range(SCRAPES)]
    stop.set()
    return scrapes


async def loaded(server: Server) -> tuple[History, list[Scrape]]:
    """Scrape while clients post."""
    stop = asyncio.Event()
    return await asyncio.gather(drive(server, CONNECTIONS, stop), watch(server, stop))


async def test_books_balance_at_every_scrape_under_load(server: Server, database_url: str) -> None:
    """Accepted = committed + in the queue, exactly, while events are on their way."""
    history, scrapes = await loaded(server)
    end = await asyncio.to_thread(server.metrics)
    assert [each for each in scrapes if unbalanced_by(each)] == []
    assert any(each["nonito_queue_events"] for each in scrapes)
    assert set(history.statuses) == {200}
    total = len(history.sent)
    assert end["nonito_events_accepted_total"] == end["nonito_events_committed_total"] == total
    assert (end["nonito_queue_events"], end["nonito_queue_bytes"]) == (0, 0)
    assert end["nonito_requests_total{/event,200}"] == total
    assert end["nonito_requests_total{/metrics,200}"] == len(scrapes)
    (stored,) = await fetch(database_url, "SELECT count(*) FROM events")
    assert stored["count"] == total
    assert_histograms_agree(end)


def assert_histograms_agree(scrape: Scrape) -> None:
    """Check that every committed event is in one batch, every batch has its time, every event its.

    All events of a batch are said to have waited as long as its first one: longer than its COPY.
    """
    batches = scrape["nonito_batch_events_count"]
    assert scrape["nonito_batch_events_sum"] == scrape["nonito_events_committed_total"]
    assert scrape["nonito_batch_events_bucket{+Inf}"] == batches > 0
    assert scrape["nonito_commit_seconds_count"] == batches
    assert scrape["nonito_event_wait_seconds_count"] == scrape["nonito_events_accepted_total"]
    assert 0 < scrape["nonito_commit_seconds_sum"] < scrape["nonito_event_wait_seconds_sum"]


def test_books_balance_over_events_refused_after_acceptance(
    database_url: str, start_server: StartServer
) -> None:
    """Events that fail with their database are in the metrics as refused, not as accepted twice."""
    server = start_server(database_url, spool__enabled="false")
    query(database_url, "ALTER TABLE events RENAME TO elsewhere")
    statuses = {server.post({"event_name": "a"}).status_code for _ in range(5)}
    scrape = server.metrics()
    assert statuses == {500}
    assert scrape["nonito_events_accepted_total"] == 5
    assert rejected(scrape) == {"database_error": 5}
    assert unbalanced_by(scrape) == 0
    assert scrape["nonito_postgres_up"] == 0
    assert scrape["nonito_event_wait_seconds_count"] == 5


def test_queue_shows_what_waits(shared_server: Server, shared_database_url: str) -> None:
    """While no commit is possible, events and their bytes stand in the queue."""
    with connected(shared_server.port) as client:
        with locked_events(shared_database_url):
            client.send(post().replace(KEY, shared_server.key.encode()) * 3)
            wait_for(lambda: shared_server.metrics()["nonito_queue_events"])
            scrape = shared_server.metrics()
        assert [client.read().status for _ in range(3)] == [200] * 3
    assert scrape["nonito_queue_bytes"] > 0
    assert unbalanced_by(scrape) == 0


def test_keys_loaded_follows_the_database(shared_server: Server, shared_database_url: str) -> None:
    """A key that is made while the server runs is counted soon."""
    before = shared_server.metrics()["nonito_keys_loaded"]
    make_key(shared_database_url, "another")
    wait_for(lambda: shared_server.metrics()["nonito_keys_loaded"] == before + 1)


def test_wait_is_each_event_s_and_not_each_batch_s(
    shared_server: Server, shared_database_url: str
) -> None:
    """20 that waited for a lock in one batch are 20, beside five that went one by one."""
    before = shared_server.metrics()
    for _ in range(5):
        shared_server.post({"event_name": "a"})
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(shared_server.port)) for _ in range(21)]
        with locked_events(shared_database_url):
            for client in clients:
                client.send(post().replace(KEY, shared_server.key.encode()))
            wait_for(lambda: shared_server.metrics()["nonito_queue_events"] == 21)
            time.sleep(0.3)
        assert [client.read().status for client in clients] == [200] * 21
    after = shared_server.metrics()
    count, quick = "nonito_event_wait_seconds_count", "nonito_event_wait_seconds_bucket{0.25}"
    assert after[count] - before[count] == 26
    assert after[quick] - before[quick] <= 5
    batches = "nonito_commit_seconds_count"
    assert after[batches] - before[batches] < 26


def test_wait_of_events_that_are_spooled_is_counted(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """An outage is when events wait the longest."""
    server = start_server(own_cluster.url(OWN_DATABASE))
    own_cluster.stop()
    assert {server.post({"event_name": "a"}).status_code for _ in range(3)} == {202}
    assert server.metrics()["nonito_event_wait_seconds_count"] == 3


def test_accepted_events_of_each_app_are_told_apart(
    database_url: str, start_server: StartServer
) -> None:
    """Whatever apps are called, and with 0 for those that have sent nothing."""
    names = ("shop", "other", 'a"b\n\\', "n" * 10_000, "silent")
    keys = [make_key(database_url, name) for name in names]
    server = start_server(database_url, key=keys[0])
    labels = ("shop", "other", names[2], "n" * 100, "silent")
    assert by_app(server.metrics()) == dict.fromkeys(labels, 0)
    for times, key in enumerate(keys[:4], 1):
        for _ in range(times):
            assert server.post({"event_name": "a"}, **{"X-API-Key": key}).status_code == 200
    query(database_url, "UPDATE apps SET name = 'else' WHERE name = 'shop'")
    late = make_key(database_url, "shop")
    wait_for(lambda: server.post({"event_name": "a"}, **{"X-API-Key": late}).status_code == 200)
    scrape = server.metrics()
    assert by_app(scrape) == dict(zip(labels, (1 + 1, 2, 3, 4, 0), strict=True))
    assert unbalanced_by(scrape) == 0


def test_apps_as_labels_are_bounded(database_url: str, start_server: StartServer) -> None:
    """The 51st is one of the others, and stays one."""
    query(database_url, "INSERT INTO apps (name) SELECT 'app' || n FROM generate_series(1, 60) n")
    query(
        database_url,
        "INSERT INTO api_keys (app_id, name, prefix, secret_sha256)"
        " SELECT id, '', 'nk_' || id, sha256(id::text::bytea) FROM apps",
    )
    key = make_key(database_url, "app60")
    server = start_server(database_url, key=key)
    server.post({"event_name": "a"})
    found = by_app(server.metrics())
    assert len(found) == 50 + 1
    assert {app for app, events in found.items() if events} == {"other"}


def test_limits_stand_beside_what_they_limit(database_url: str, start_server: StartServer) -> None:
    """As they are configured."""
    server = start_server(
        database_url,
        limits__connections_max=3,
        queue__events_max=6_000,
        queue__bytes_max=20_000_000,
        spool__bytes_max=300_000_000,
        spool__free_bytes_min=1_000,
        events__partitions_ahead=5,
    )
    scrape = server.metrics()
    limits = {
        "connections_limit": 3,
        "queue_events_limit": 6_000,
        "queue_bytes_limit": 20_000_000,
        "spool_bytes_limit": 300_000_000,
        "spool_free_bytes_limit": 1_000,
        "partitions_ahead_target": 5,
    }
    assert {name: scrape[f"nonito_{name}"] for name in limits} == limits
    assert scrape["nonito_partitions_ahead"] == 5
    assert scrape["nonito_spool_free_bytes"] > 1_000
    assert scrape["nonito_spool_has_room"] == 1
    assert scrape["nonito_postgres_connections"] >= 2 + 1


def test_connections_are_counted_while_they_are_open(
    database_url: str, start_server: StartServer
) -> None:
    """On both lanes; those past the limit as refused."""
    server = start_server(database_url, limits__connections_max=3)
    scraping = join(b"GET /metrics HTTP/1.1", HOST)
    with connected(server.port) as scraper, connected(server.port) as other:
        assert other.ask(post().replace(KEY, server.key.encode())).status == 200

        def gauge(name: str) -> float:
            found = re.search(rf"(?m)^nonito_{name} (\S+)", scraper.ask(scraping).body.decode())
            assert found
            return float(found[1])

        assert gauge("connections_open") == 2
        with connected(server.port) as third:
            wait_for(lambda: gauge("connections_open") == 3)
            with connected(server.port) as fourth:
                assert fourth.socket.recv(1) == b""
            assert gauge("connections_refused_total") == 1
            third.send(b"GET")
        wait_for(lambda: gauge("connections_open") == 2)


def test_requests_in_flight_are_those_without_an_answer(
    shared_server: Server, shared_database_url: str
) -> None:
    """On both lanes, and the scrape itself."""
    with connected(shared_server.port) as fast, connected(shared_server.port) as slow:
        with locked_events(shared_database_url):
            for client, header in ((fast, b"X-A: b"), (slow, b"Prefer: return=representation")):
                client.send(post(header).replace(KEY, shared_server.key.encode()))
            wait_for(lambda: shared_server.metrics()["nonito_requests_in_flight"] == 3)
        assert [fast.read().status, slow.read().status] == [200, 200]
    wait_for(lambda: shared_server.metrics()["nonito_requests_in_flight"] == 1)


def test_loop_that_stands_still_shows_in_its_lag(shared_server: Server) -> None:
    """As long as the process is stopped, nobody is served."""
    beyond = "nonito_loop_lag_seconds_bucket{0.5}"
    before = shared_server.metrics()
    shared_server.signal_all(signal.SIGSTOP)
    time.sleep(1.0)
    shared_server.signal_all(signal.SIGCONT)
    count = "nonito_loop_lag_seconds_count"
    wait_for(lambda: shared_server.metrics()[count] > before[count] + 1)
    after = shared_server.metrics()
    assert after[count] - after[beyond] > before[count] - before[beyond]


def test_build_is_told(shared_server: Server) -> None:
    """For a graph that marks when which version came."""
    line = f'nonito_build_info{{python="{platform.python_version()}",version="{__version__}"}} 1.0'
    assert line in shared_server.get("/metrics").text
