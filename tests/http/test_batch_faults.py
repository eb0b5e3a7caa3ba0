"""`POST /events` when something goes wrong: the client, the queue, the server, Postgres."""

import asyncio
import gc
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest.config import Limits
from ingest.delivery.intake import Intake
from ingest.delivery.outcome import Ack, Duplicate
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.errors import Code, Refusal
from ingest.events import copy_format
from ingest.events.client_fields import Span
from ingest.events.drafts import Drafts
from ingest.events.event import decode_array
from ingest.events.ids import IdSequence
from ingest.http.authentication import Authenticator
from ingest.http.batch_route import BatchRoute
from ingest.http.bodies import BodyReader
from ingest.http.turns import Turns
from ingest.http.waiters import BatchAnswer, EarlyAcks
from ingest.observe.metrics import Metrics
from ingest.store import api_keys
from ingest.store.apps import App
from ingest.store.cluster import Cluster
from ingest.store.keyring import Grant, Keyring
from ingest.store.postgres import Postgres
from tests.conftest import OWN_DATABASE, StartServer, make_key
from tests.http.batches import (
    MIB,
    code_of,
    errors_of,
    events,
    post,
    request,
    stored,
    told,
    unique,
)
from tests.http.checks import locked_events
from tests.support.postgres import kill, make_postgres, pause
from tests.support.raw import RawClient, connected
from tests.support.server import Server, books_balance, wait_for, wait_until_drained
from tests.test_retries import make_id


@pytest.fixture
def url(shared_database_url: str) -> str:
    """The module's database."""
    return shared_database_url


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The module's server."""
    return shared_server


def test_key_that_is_revoked_while_the_batch_arrives_stores_nothing(
    server: Server, url: str
) -> None:
    """It is looked at again behind the last byte."""
    name = unique()
    secret = make_key(url, unique("app"))
    wait_for(lambda: server.post({}, **{"X-API-Key": secret}).status_code == 400)
    whole = request(server, json.dumps(events(2000, name)).encode(), key=secret)
    with connected(server.port) as client:
        client.send(whole[:-1000])
        asyncio.run(revoke(url, secret))
        wait_for(lambda: server.post({}, **{"X-API-Key": secret}).status_code == 401)
        client.send(whole[-1000:])
        answer = client.read()
    assert (answer.status, answer.code) == (401, "invalid_api_key")
    assert stored(url, name) == []


async def revoke(url: str, secret: str) -> None:
    """Revoke an API key."""
    async with make_postgres(url).session() as connection:
        assert len(await api_keys.revoke(connection, secret)) == 1


def test_client_that_goes_away_before_the_end_of_its_batch_stores_nothing(
    server: Server, url: str
) -> None:
    """With a reset or without; what follows it on the server is served."""
    name = unique()
    whole = request(server, json.dumps(events(2000, name)).encode())
    for leave in (RawClient.reset, RawClient.half_close):
        client = RawClient(server.port)
        client.send(whole[: len(whole) // 2])
        leave(client)
        client.close()
    assert post(server, events(1, unique())).status_code == 200
    assert stored(url, name) == []


def test_client_that_goes_away_behind_its_batch_has_it_stored(server: Server, url: str) -> None:
    """Its events were on their way, and count once."""
    name = unique()
    body = json.dumps([*events(2000, name), {**events(1, name)[0], "id": make_id()}]).encode()
    with locked_events(url):
        client = RawClient(server.port)
        client.send(request(server, body))
        wait_for(lambda: server.metrics()["nonito_queue_events"] == 2001)
        client.reset()
    wait_for(lambda: len(stored(url, name)) == 2001)
    wait_for(lambda: server.metrics()["nonito_queue_events"] == 0)
    assert books_balance(server.metrics()) == 0


def test_client_may_wait_to_be_asked_for_its_batch(server: Server) -> None:
    """As curl does past 1 MiB; and it may send chunks, a byte each."""
    body = json.dumps(events(3, unique())).encode()
    with connected(server.port) as client:
        head, _, rest = request(server, body, "Expect: 100-continue").partition(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        assert client.read(has_body=False).status == 100
        client.send(rest)
        assert len(client.read().json()["data"]) == 3
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        head = request(server, b"", "Transfer-Encoding: chunked").replace(
            b"Content-Length: 0\r\n", b""
        )
        assert len(client.ask(head + chunks).json()["data"]) == 3


def test_batch_that_does_not_fit_is_refused_whole(
    database_url: str, start_server: StartServer
) -> None:
    """Larger than the queue ever is: 413; than what is left of it: 503. None of it is stored."""
    server = start_server(
        database_url, spool__enabled="false", queue__events_max=100, writer__batch_events_max=50
    )
    for form in ({}, {"timestamp": "2026-01-10T12:00:00Z"}):
        answer = post(server, events(101, "too many", **form))
        assert (answer.status_code, code_of(answer)) == (413, "payload_too_large")
    accepted = 0
    with locked_events(database_url):
        for _ in range(6):
            answer = post(server, events(60, "fits"), Prefer="respond-async")
            if answer.status_code != 202:
                break
            accepted += 60
        ids = [{**event, "id": make_id()} for event in events(10, "other lane")]
        refused = post(server, [*ids, *events(60, "refused")], Prefer="respond-async")
        for full in (answer, refused):
            assert (full.status_code, code_of(full)) == (503, "overloaded")
            assert full.headers["Retry-After"] == "1"
        assert post(server, ids, Prefer="respond-async").status_code == 202
    wait_for(lambda: len(stored(database_url, "fits")) == accepted)
    wait_for(lambda: len(stored(database_url, "other lane")) == 10)
    assert accepted > 0
    assert stored(database_url, "refused") == stored(database_url, "too many") == []
    assert books_balance(server.metrics()) == 0


def test_batch_that_waits_is_answered_before_the_server_stops(
    database_url: str, start_server: StartServer
) -> None:
    """SIGTERM commits what is queued, and a batch that comes too late is told so."""
    server = start_server(database_url)
    sent = [*events(3000, "a"), *({**event, "id": make_id()} for event in events(3000, "a"))]
    with ThreadPoolExecutor(1) as pool, connected(server.port) as late:
        with locked_events(database_url):
            waiting = pool.submit(post, server, sent)
            wait_for(lambda: server.metrics()["nonito_queue_events"] == 6000)
            whole = request(server, json.dumps(events(2, "late")).encode())
            wait_for(lambda: server.get("/healthz").status_code == 200)
            server.process.terminate()
            wait_for(lambda: "stopping" in server.logs())
            refused = late.ask(whole)
        answer = waiting.result()
        assert server.process.wait(30) == 0
    assert (refused.status, refused.code, refused.says_close) == (503, "shutting_down", True)
    assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
    assert {row["id"] for row in told(answer)} == {row["id"] for row in stored(database_url, "a")}
    assert stored(database_url, "late") == []


def test_batches_of_an_outage_are_stored_once(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """Postgres dies while 10,000 events are on their way; what comes then is spooled."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url)
    bare = start_server(url, key=server.key, spool__enabled="false")
    flying = [
        *events(8000, "flying"),
        *({**event, "id": make_id()} for event in events(2000, "flying")),
    ]
    with ThreadPoolExecutor(1) as pool:
        pause(own_cluster)
        in_flight = pool.submit(post, server, flying)
        wait_for(lambda: server.metrics()["nonito_queue_events"] == 10_000)
        kill(own_cluster)
        sent = [*events(50, "away"), *({**event, "id": make_id()} for event in events(50, "away"))]
        first = post(server, sent)
        again = post(server, [*sent[50:], *events(1, "away too"), {}])
        minimal = post(server, events(7, "counted"), Prefer="return=minimal")
        survived = in_flight.result()
    refused = post(bare, [{}, *events(2, "refused"), {**events(1, "refused")[0], "id": make_id()}])
    assert (refused.status_code, refused.json()["error"]["code"]) == (500, "database_error")
    assert list(errors_of(refused).values()) == ["missing_event_name", *["database_error"] * 3]
    assert (first.status_code, again.status_code, minimal.status_code) == (202, 207, 202)
    assert minimal.json() == {"status": "success", "count": 7}
    assert survived.status_code == 202
    rows = first.json()["data"]
    assert {row.get("duplicate", "") for row in rows[:50]} == {""}
    assert {row["duplicate"] for row in rows[50:]} == {None}
    assert again.json()["data"][:50] == rows[50:]
    assert errors_of(again) == {51: "missing_event_name"}
    own_cluster.start()
    wait_until_drained(server, 60)
    wait_for(lambda: server.post({"event_name": "back"}).status_code == 200)
    assert sorted(each["id"] for each in told(survived)) == sorted(
        each["id"] for each in stored(url, "flying")
    )
    assert sorted(each["id"] for each in told(first)) == sorted(
        each["id"] for each in stored(url, "away")
    )
    assert len(stored(url, "counted")) == 7
    assert stored(url, "refused") == []
    final = post(server, sent[50:])
    assert final.status_code == 200
    assert final.json()["data"] == [{**row, "duplicate": True} for row in rows[50:]]
    assert books_balance(server.metrics()) == 0


NOT_STORED = Refusal(Code.OVERLOADED, "The event was not stored.")


GRANT = Grant(App(1, "shop"), None)


def make_route() -> BatchRoute:
    """Return the route with everything that it needs to understand a batch."""
    metrics, limits = Metrics(), Limits()
    queues = Queues(
        lambda: EventQueue(events_max=100, bytes_max=MIB, batch_events_max=10, batch_bytes_max=MIB)
    )
    intake = Intake(queues, event_name_chars_max=255, span=Span(0, 0), has_partition=lambda _: True)
    postgres = Postgres("postgresql://nowhere", connect_timeout_s=1, commit_timeout_s=1)
    keyring = Keyring(postgres, poll_interval_s=1)
    authenticator = Authenticator(keyring)
    return BatchRoute(
        intake,
        authenticator,
        BodyReader(limits.body_timeout_s),
        EarlyAcks(metrics),
        metrics,
        limits,
        turns=Turns(),
    )


@pytest.fixture
def without_collections() -> Iterator[None]:
    """Collect no garbage: what is left is in a cycle."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collections")
async def test_refused_events_leave_no_cycle_that_holds_their_batch() -> None:
    """Collections are rare, and one bad event in each of 200 batches would keep 3 GB."""
    before = sum(isinstance(found, Refusal) for found in gc.get_objects())
    drafts = Drafts()
    decoded = decode_array(b'[{"event_name":"b"},{"event_name":""}]')
    assert decoded is not None
    await make_route()._draft(GRANT, [[b"{}", b'{"event_name":"a"}', b"[" * 5000], decoded], drafts)
    assert (len(drafts.rows), sorted(drafts.refusals)) == (5, [0, 2, 4])
    del drafts
    assert sum(isinstance(found, Refusal) for found in gc.get_objects()) == before


@pytest.mark.usefixtures("without_collections")
async def test_answered_batch_leaves_no_cycle_that_holds_its_outcomes() -> None:
    """They are rows of some MiB if it was sent before."""
    head, ids = copy_format.row_head(1), IdSequence()
    made = [copy_format.row(head, ids.next()[0], b"a", b"{}", b"") for _ in range(3)]
    answer = BatchAnswer(made, 3)
    waiter = answer.of(1)
    waiter.settle(Duplicate(Ack.SPOOLED, b"{}"))
    answer.settle(Ack.COMMITTED)
    answer.settle(NOT_STORED, made[2])
    assert (await answer.settled).uncommon == {1: Duplicate(Ack.SPOOLED, b"{}"), 2: NOT_STORED}
    del waiter, answer
    assert [found for found in gc.get_objects() if isinstance(found, BatchAnswer)] == []


async def test_batch_without_a_good_event_is_settled_at_once() -> None:
    """Nobody would ever settle it."""
    outcomes = await asyncio.wait_for(BatchAnswer([b""], 0).settled, 1)
    assert (outcomes.uncommon, outcomes.is_spooled) == ({}, False)


async def count_turns(events: list[bytes]) -> int:
    """Return how often another task has a turn while these are drafted, decoded together."""
    decoded = decode_array(b"[%b]" % b",".join(events))
    assert decoded is not None
    drafts = Drafts()
    drafting = asyncio.create_task(make_route()._draft(GRANT, [decoded], drafts))
    turns = 0
    while not drafting.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(drafts.rows) == len(events)
    return turns


@pytest.mark.parametrize(
    ("event", "turn_events"),
    [
        (b'{"event_name":"a"}', 1000),
        (b'{"event_name":"a","timestamp":"2026-01-10T12:00:00Z"}', 250),
        (b'{"event_name":"a","event_params":{"a":1e300}}', 250),
    ],
    ids=["plain", "with a time", "with a number near a limit"],
)
async def test_others_have_a_turn_while_a_batch_is_drafted(event: bytes, turn_events: int) -> None:
    """More often where an event costs more."""
    turns = await count_turns([event] * 3000)
    assert 3000 // turn_events <= turns <= 3000 // turn_events + 2
