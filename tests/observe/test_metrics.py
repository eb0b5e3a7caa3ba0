"""The metrics: all of them are there, they count what happened, and the metrics always balance."""

import asyncio
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from ingest.errors import Code
from tests.conftest import StartServer, make_key
from tests.http.cases import HOST, KEY, join, post
from tests.http.checks import locked_events, query
from tests.support.load import History, drive
from tests.support.postgres import fetch
from tests.support.raw import connected
from tests.support.server import Server, wait_for

LOAD_S = 1.5
CONNECTIONS = 32
SCRAPES_MIN = 10
KINDS = {
    "nonito_requests": "counter",
    "nonito_events_accepted": "counter",
    "nonito_events_committed": "counter",
    "nonito_events_refused": "counter",
    "nonito_batch_events": "histogram",
    "nonito_commit_seconds": "histogram",
    "nonito_ack_seconds": "histogram",
    "nonito_queue_events": "gauge",
    "nonito_queue_bytes": "gauge",
    "nonito_postgres_up": "gauge",
    "nonito_keys_loaded": "gauge",
    "process_resident_memory_bytes": "gauge",
    "process_cpu_seconds": "counter",
    "process_open_fds": "gauge",
}
REQUESTS = [
    (post(), 200, 3),
    (post(body=b"{"), 400, 2),
    (post(body=b"{}"), 400, 1),
    (post(body=b'{"event_name":1}'), 400, 1),
    (post().replace(KEY, b"wrong"), 401, 2),
    (join(b"GET /none HTTP/1.1", HOST), 404, 1),
    (join(b"GET /event HTTP/1.1", HOST), 405, 1),
    (post(body=b"", length=b"Content-Length: 2000000"), 413, 1),
    (post().replace(b"application/json", b"text/plain"), 415, 1),
    (post(b"X-A : b"), 400, 1),
    (post(b"X-A: " + b"b" * 9000), 431, 1),
    (b"POST /ev", 408, 1),
]
REJECTED = {
    "invalid_json": 2,
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
    """Return accepted - (committed + rejected after acceptance + in the queue)."""
    after = rejected(scrape, only={"rejected_by_database", "database_error"})
    return (
        scrape["nonito_events_accepted_total"]
        - scrape["nonito_events_committed_total"]
        - scrape["nonito_queue_events"]
        - sum(after.values())
    )


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
    """Each answer by its status, also of malformed and slow heads; each refused event by code."""
    server = start_server(database_url, limits__head_timeout_s=0.5)
    expected: Counter[int] = Counter()
    for request, status, times in REQUESTS:
        for _ in range(times):
            with connected(server.port) as client:
                answer = client.ask(request.replace(KEY, server.key.encode()))
            assert answer.status == status
            expected[status] += 1
    scrape = server.metrics()
    prefix = "nonito_requests_total{"
    counted = {name: value for name, value in scrape.items() if name.startswith(prefix)}
    assert counted == {f"{prefix}{status}}}": times for status, times in expected.items()}
    assert rejected(scrape) == REJECTED
    assert scrape["nonito_events_accepted_total"] == expected[200]


async def watch(server: Server, stop: asyncio.Event) -> list[Scrape]:
    """Scrape again and again."""
    scrapes = []
    while not stop.is_set():
        scrapes.append(await asyncio.to_thread(server.metrics))
    return scrapes


async def loaded(server: Server) -> tuple[History, list[Scrape]]:
    """Scrape while clients post."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(LOAD_S, stop.set)
    return await asyncio.gather(drive(server, CONNECTIONS, stop), watch(server, stop))


async def test_books_balance_at_every_scrape_under_load(server: Server, database_url: str) -> None:
    """Accepted = committed + in the queue, exactly, while events are on their way."""
    history, scrapes = await loaded(server)
    end = await asyncio.to_thread(server.metrics)
    assert [each for each in scrapes if unbalanced_by(each)] == []
    assert len(scrapes) >= SCRAPES_MIN
    assert any(each["nonito_queue_events"] for each in scrapes)
    assert set(history.statuses) == {200}
    total = len(history.sent)
    assert end["nonito_events_accepted_total"] == end["nonito_events_committed_total"] == total
    assert (end["nonito_queue_events"], end["nonito_queue_bytes"]) == (0, 0)
    assert end["nonito_requests_total{200}"] == total + len(scrapes)
    (stored,) = await fetch(database_url, "SELECT count(*) FROM events")
    assert stored["count"] == total
    assert_histograms_agree(end)


def assert_histograms_agree(scrape: Scrape) -> None:
    """Check that every committed event is in one batch, and every batch has its two times."""
    batches = scrape["nonito_batch_events_count"]
    assert scrape["nonito_batch_events_sum"] == scrape["nonito_events_committed_total"]
    assert scrape["nonito_batch_events_bucket{+Inf}"] == batches > 0
    assert scrape["nonito_commit_seconds_count"] == scrape["nonito_ack_seconds_count"] == batches
    assert 0 < scrape["nonito_commit_seconds_sum"] <= scrape["nonito_ack_seconds_sum"]


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
