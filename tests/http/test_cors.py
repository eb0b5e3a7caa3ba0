"""Any page may send events: what a browser is told, and on which answers."""

import pytest

from tests.conftest import StartServer
from tests.http.browsers import ORIGIN
from tests.http.cases import EVENT, HOST, KEY, chunked, join, post
from tests.http.checks import (
    assert_open_to_browsers,
    assert_refusal,
    assert_success,
    locked_events,
    query,
)
from tests.http.refusals import TOO_LARGE_HEADS
from tests.support.raw import connected
from tests.support.server import LANES, ONE_EVENT, Server, wait_for

ANSWERS = [
    (post(), 200),
    (post(ORIGIN), 200),
    (chunked(EVENT), 200),
    (post(b"Prefer: respond-async"), 202),
    (post(body=b"{"), 400),
    (post(ORIGIN, body=b"{}"), 400),
    (post(line=b"POST /event HTTP/2.0"), 400),
    (post().replace(b"X-API-Key", b"X-Key"), 401),
    (post().replace(KEY, b"nk_wrong"), 401),
    (join(b"GET /event HTTP/1.1", HOST), 405),
    (join(b"DELETE /event HTTP/1.1", HOST), 405),
    (post()[:-1], 408),
    (TOO_LARGE_HEADS[0], 413),
    (post().replace(b"application/json", b"text/plain"), 415),
    (post(b"Expect: magic"), 417),
]
REFUSALS_ELSEWHERE = [
    (join(b"OPTIONS /metrics HTTP/1.1", HOST, ORIGIN), 405),
    (join(b"POST /readyz HTTP/1.1", HOST, ORIGIN), 405),
    (join(b"POST / HTTP/1.1", HOST, ORIGIN), 405),
    (join(b"GET /none HTTP/1.1", HOST, ORIGIN), 404),
    (join(b"OPTIONS /none HTTP/1.1", HOST, ORIGIN), 404),
    (post(ORIGIN, line=b"POST /evnts HTTP/1.1"), 404),
    (post(ORIGIN, b"X-A : b"), 400),
    (post(ORIGIN, b"X-A: " + b"b" * 9000), 431),
    (post()[:-30].partition(b"Content-Length")[0], 408),
]
OTHERS = [
    (join(b"GET /healthz HTTP/1.1", HOST, ORIGIN), 200),
    (join(b"GET /readyz HTTP/1.1", HOST, ORIGIN), 200),
    (join(b"GET /metrics HTTP/1.1", HOST, ORIGIN), 200),
    (join(b"OPTIONS /healthz HTTP/1.1", HOST, ORIGIN), 204),
    (join(b"OPTIONS /readyz HTTP/1.1", HOST, ORIGIN), 204),
    (join(b"GET / HTTP/1.1", HOST, ORIGIN), 200),
]
PREFLIGHT_PATHS = [b"/event", b"/events", b"/evnts", b"/", b"/healthz", b"/openapi.json"]
TRACING = b"content-type,x-api-key,authorization,traceparent,tracestate,baggage,sentry-trace,x-a"


@pytest.fixture(scope="module")
def lane_settings() -> dict[str, float]:
    """Time-outs that a test can wait for."""
    return {"limits.head_timeout_s": 0.5, "limits.body_timeout_s": 0.5}


def keyed(server: Server, request: bytes = post()) -> bytes:
    """Put the server's key into a request."""
    return request.replace(KEY, server.key.encode())


@pytest.mark.parametrize(("request_bytes", "status"), ANSWERS)
def test_every_answer_of_the_route_is_open_to_any_page(
    lane: Server, request_bytes: bytes, status: int
) -> None:
    """Successes and all refusals, whether the request names an origin or not."""
    with connected(lane.port) as client:
        answer = client.ask(keyed(lane, request_bytes))
    assert answer.status == status
    assert_open_to_browsers(answer)


@pytest.mark.parametrize(("request_bytes", "status"), REFUSALS_ELSEWHERE)
def test_refusal_of_any_other_route_is_open_to_any_page(
    lane: Server, request_bytes: bytes, status: int
) -> None:
    """A wrong path and a wrong method, and what is not even well-formed."""
    with connected(lane.port) as client:
        answer = client.ask(keyed(lane, request_bytes))
    assert answer.status == status
    assert_open_to_browsers(answer)


@pytest.mark.parametrize(("request_bytes", "status"), OTHERS)
def test_no_other_success_is_open(lane: Server, request_bytes: bytes, status: int) -> None:
    """What other routes tell is not for pages from elsewhere."""
    with connected(lane.port) as client:
        answer = client.ask(keyed(lane, request_bytes))
    assert answer.status == status
    assert [name for name in answer.headers if name.startswith("access-control")] == []


@pytest.mark.parametrize("path", PREFLIGHT_PATHS)
def test_preflight_is_answered_without_a_key(lane: Server, path: bytes) -> None:
    """For every path, or a page could not read its 404; and the connection goes on."""
    preflight = join(
        b"OPTIONS %b HTTP/1.1" % path,
        HOST,
        ORIGIN,
        b"Access-Control-Request-Method: POST",
        b"Access-Control-Request-Headers: " + TRACING,
    )
    with connected(lane.port) as client:
        answer = client.ask(preflight)
        assert_success(client.ask(keyed(lane)))
    assert (answer.status, answer.body) == (204, b"")
    assert {name: value for name, value in answer.headers.items() if name != "date"} == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "*",
        "access-control-allow-headers": (
            "*, Authorization, Content-Type, Content-Encoding, X-API-Key, Idempotency-Key, Prefer"
        ),
        "access-control-max-age": "86400",
        "server": "nonito",
    }


@pytest.mark.parametrize("fast_lane", LANES)
def test_503_shows_a_page_when_to_come_back(
    database_url: str, start_server: StartServer, fast_lane: str
) -> None:
    """`Retry-After` is among the headers that a script may read."""
    server = start_server(
        database_url,
        server__fast_lane=fast_lane,
        **ONE_EVENT,
    )
    with (
        connected(server.port) as first,
        connected(server.port) as second,
        connected(server.port) as third,
    ):
        with locked_events(database_url):
            for number, client in enumerate((first, second), start=1):
                client.send(keyed(server))
                wait_for(lambda: server.metrics()["nonito_queue_events"] == number)  # noqa: B023
            refused = third.ask(keyed(server))
        answers = [first.read(), second.read()]
    assert_refusal(refused, 503, "overloaded")
    for answer in (refused, *answers):
        assert_open_to_browsers(answer)
    assert "access-control-expose-headers" in refused.headers


@pytest.mark.parametrize("fast_lane", LANES)
@pytest.mark.parametrize(("has_spool", "status"), [("true", 202), ("false", 500)])
def test_answers_of_an_outage_are_open_to_any_page(
    database_url: str, start_server: StartServer, fast_lane: str, has_spool: str, status: int
) -> None:
    """A 202 of the spool, and a 500 of a server without one; also a connection's last answer."""
    server = start_server(database_url, server__fast_lane=fast_lane, spool__enabled=has_spool)
    query(database_url, "ALTER TABLE events RENAME TO elsewhere")
    with connected(server.port) as client:
        answer = client.ask(keyed(server))
        client.send(keyed(server))
        client.half_close()
        last = client.read()
    assert (answer.status, last.status) == (status, status)
    assert_open_to_browsers(answer)
    assert_open_to_browsers(last)
