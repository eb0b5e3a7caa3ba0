"""Refusals that need more than one request: their headers, their timing, the database's part."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ingest.http.router import Router, ingestion
from ingest.observe.metrics import Metrics
from tests.conftest import StartServer
from tests.http.cases import EVENT, HOST, JSON, KEY, chunked, join, post
from tests.http.checks import assert_refusal, assert_success, locked_events, query
from tests.http.refusals import BODY_BYTES_MAX, TOO_LARGE_HEADS
from tests.support.raw import Answer, RawClient, connected
from tests.support.server import Server, wait_for

REFUSE_MARKED = (
    """
    CREATE FUNCTION refuse_marked() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.event_name = 'marked' THEN
            RAISE EXCEPTION 'this one is marked' USING ERRCODE = '22003';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER refuse_marked BEFORE INSERT ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_marked()
    """,
)
MESSAGES = [
    (post(body=b'{"event_name":"a","event_parms":{}}'), ["event_parms", "event_params"]),
    (post(body=b"{}"), ["event_name"]),
    (post(body=b'{"event_name":""}'), ["event_name", "255"]),
    (post(body=b'{"event_name":"a","event_params":[]}'), ["event_params", "object"]),
    (post(body=b'{"event_name":"a","event_params":{"a":1e999}}'), ["event_params", "string"]),
    (post(body=b'{"event_name":"a","event_params":{"a":"\\u0000"}}'), ["U+0000"]),
    (post(body=b'{"event_name":"a"'), ["JSON"]),
    (post(body=b'{"event_name":"\\ud83d"}'), ["\\ud83d", "byte 15", "surrogate"]),
    (post(body=b'{"event_name":"a","event_params":{"a":"\\ud83d"}}'), ["\\ud83d", "surrogate"]),
    (post(body=b'{"event_name":"a","event_params":{"\\udca9 b":1}}\n'), ["\\udca9", "surrogate"]),
    (post(body=b'{"event_name":"\\n\\\\\\ud83d\\ud83d\\udca9"}'), ["byte 19", "surrogate"]),
    (post(body=b'{"event_name":"\\\\ud83d",}'), ["trailing comma"]),
    (post(body=b'{"event_name":"a\\ud83d'), ["truncated"]),
    (post(body=b""), ["empty"]),
    (post(body=b'{"event_name":"\xff"}'), ["UTF-8"]),
    (post().replace(b"X-API-Key", b"X-Key"), ["X-API-Key", "Authorization", "Bearer"]),
    (post().replace(KEY, b"nk_wrong"), ["X-API-Key", "Authorization", "Bearer"]),
    (post().replace(b"application/json", b"text/plain"), ["application/json"]),
    (post().replace(JSON, JSON + b"; charset=latin1"), ["UTF-8", "charset"]),
    (post(b"Content-Encoding: gzip"), ["Content-Encoding"]),
    (chunked(EVENT).replace(b": chunked", b": gzip, chunked"), ["Transfer-Encoding", "chunked"]),
    (TOO_LARGE_HEADS[0], [str(BODY_BYTES_MAX)]),
    (join(b"GET /event HTTP/1.1", HOST), ["POST"]),
    (join(b"GET /evnts HTTP/1.1", HOST), ["/event", "/events"]),
]


@contextmanager
def several(server: Server, count: int) -> Iterator[list[RawClient]]:
    """Open several connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(connected(server.port)) for _ in range(count)]


def keyed(server: Server, request: bytes) -> bytes:
    """Put the server's key into a request."""
    return request.replace(KEY, server.key.encode())


def named(server: Server, name: str) -> bytes:
    """Return the request of an event of this name."""
    return keyed(server, post(body=json.dumps({"event_name": name}).encode()))


def queued(server: Server) -> float:
    """Return how many events wait for their outcome."""
    return server.metrics()["nonito_queue_events"]


@pytest.mark.parametrize(("request_bytes", "words"), MESSAGES)
def test_message_names_what_is_wrong(
    http_server: Server, request_bytes: bytes, words: list[str]
) -> None:
    """The field, the header or the limit at fault stands in the message."""
    with connected(http_server.port) as client:
        message = client.ask(keyed(http_server, request_bytes)).json()["error"]["message"]
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("path", "allow"),
    [("/event", "POST, OPTIONS"), ("/healthz", "GET, HEAD, OPTIONS"), ("/metrics", "GET, HEAD")],
)
def test_405_lists_the_methods_allowed(http_server: Server, path: str, allow: str) -> None:
    """`Allow` has every method that the path takes, and no other."""
    with connected(http_server.port) as client:
        answer = client.ask(join(b"DELETE %b HTTP/1.1" % path.encode(), HOST))
    assert_refusal(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/event", "/none"])
def test_refused_head_request_has_no_body(http_server: Server, path: str) -> None:
    """What follows on the connection is the next answer."""
    with connected(http_server.port) as client:
        client.send(join(b"HEAD %b HTTP/1.1" % path.encode(), HOST))
        assert client.read(has_body=False).status in {404, 405}
        assert client.ask(join(b"GET /healthz HTTP/1.1", HOST)).status == 200


@pytest.mark.parametrize("head", TOO_LARGE_HEADS)
def test_body_too_large_is_refused_before_it_is_sent(http_server: Server, head: bytes) -> None:
    """The head alone is answered, also where the client waits for a 100."""
    with connected(http_server.port) as client:
        assert_refusal(client.ask(keyed(http_server, head)), 413, "payload_too_large")


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (post().replace(KEY, b"x" * 46), 401, "invalid_api_key"),
        (post(line=b"POST /none HTTP/1.1"), 404, "not_found"),
        (post().replace(b"application/json", b"text/plain"), 415, "unsupported_media_type"),
        (post(b"Expect: magic"), 417, "expectation_failed"),
    ],
)
def test_client_that_waits_for_a_100_is_refused_instead(
    http_server: Server, request_bytes: bytes, status: int, code: str
) -> None:
    """What the head alone condemns is never asked for its body."""
    head = request_bytes.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    if b"Expect" not in head:
        head = head[:-2] + b"Expect: 100-continue\r\n\r\n"
    with connected(http_server.port) as client:
        assert_refusal(client.ask(keyed(http_server, head)), status, code)


def test_full_queue_is_503_and_the_queued_events_get_their_200(
    database_url: str, start_server: StartServer
) -> None:
    """One event in a COPY, one waiting, no room for a third; later there is room again."""
    limits: dict[str, Any] = {
        "queue__events_max": 1,
        "writer__batch_events_max": 1,
        "writer__connections": 1,
        "spool__enabled": "false",
    }
    server = start_server(database_url, **limits)
    with several(server, 3) as (first, second, third):
        with locked_events(database_url):
            first.send(named(server, "a"))
            wait_for(lambda: queued(server) == 1)
            second.send(named(server, "b"))
            wait_for(lambda: queued(server) == 2)
            refused = third.ask(named(server, "c"))
        assert_refusal(refused, 503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert_success(first.read())
        assert_success(second.read())
        assert_success(third.ask(named(server, "c")))


def test_stopping_server_refuses_new_events_and_answers_the_old(
    database_url: str, start_server: StartServer
) -> None:
    """503 `shutting_down` on a connection kept alive; the event in flight gets its 200."""
    server = start_server(database_url)
    with several(server, 2) as (busy, idle):
        assert_success(idle.ask(named(server, "a")))
        with locked_events(database_url):
            busy.send(named(server, "b"))
            wait_for(lambda: queued(server) == 1)
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: "stopping" in server.logs())
            refused = idle.ask(named(server, "c"))
        assert_refusal(refused, 503, "shutting_down")
        assert refused.headers["retry-after"].isdigit()
        assert refused.says_close
        assert_success(busy.read())
    assert server.process.wait(20) == 0


def test_row_that_postgres_refuses_costs_its_neighbours_nothing(
    server: Server, database_url: str
) -> None:
    """In one batch: 400 with Postgres's own message for the one, 200 for the others."""
    for statement in REFUSE_MARKED:
        query(database_url, statement)
    names = ["first", *("good" if number % 7 else "marked" for number in range(1, 22))]
    with several(server, len(names)) as clients:
        with locked_events(database_url):
            for client, name in zip(clients, names, strict=True):
                client.send(named(server, name))
            wait_for(lambda: queued(server) == len(names))
        answers = [client.read() for client in clients]
    for name, answer in zip(names, answers, strict=True):
        if name == "marked":
            message = assert_refusal(answer, 400, "rejected_by_database")
            assert "this one is marked" in message
        else:
            assert assert_success(answer)["event_name"] == name
    (stored,) = query(database_url, "SELECT count(*) FROM events")
    assert stored["count"] == len(names) - names.count("marked")


def test_event_that_is_not_stored_is_a_500_that_says_so(
    database_url: str, start_server: StartServer
) -> None:
    """Without its table and without a spool, every event is a `database_error`."""
    server = start_server(database_url, spool__enabled="false")
    query(database_url, "ALTER TABLE events RENAME TO elsewhere")
    with connected(server.port) as client:
        message = assert_refusal(client.ask(named(server, "a")), 500, "database_error")
        assert "not stored" in message
        query(database_url, "ALTER TABLE elsewhere RENAME TO events")
        wait_for(lambda: client.ask(named(server, "a")).status == 200)


def test_failure_of_the_server_is_a_500_without_a_trace() -> None:
    """Whatever a handler raises, the answer has the one shape and none of the exception's text."""
    metrics = Metrics()
    response = asyncio.run(_dispatch_to_a_failing_handler(metrics))
    assert isinstance(response.body, bytes)
    headers = {"content-type": response.content_type}
    answer = Answer("HTTP/1.1", response.status, headers, response.body)
    assert_refusal(answer, 500, "internal_error")
    assert b"secret" not in response.body
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert metrics.answers == {("/event", 500): 1}


async def _dispatch_to_a_failing_handler(metrics: Metrics) -> web.Response:
    async def fail(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(0)
        raise RuntimeError("a secret")

    router = Router({"/event": ingestion(fail)}, metrics)
    request = make_mocked_request("POST", "/event", headers={"X-API-Key": "a"})
    request.protocol.is_last = False  # type: ignore[attr-defined] # a Mock
    return await router.dispatch(request)
