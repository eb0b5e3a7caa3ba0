"""Keys in the query, for `navigator.sendBeacon`: only where the operator allows it, never shown."""

import json
from collections.abc import Iterator

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import StartServer, make_key
from tests.http.browsers import BEACONS, ORIGIN, WITH_KEY, beacon
from tests.http.cases import EVENT, HOST, JSON, KEY, Case, join, post
from tests.http.checks import (
    assert_open_to_browsers,
    assert_refusal,
    assert_success,
    query,
)
from tests.support.postgres import new_database
from tests.support.raw import RawClient, connected
from tests.support.server import LANES, Server, running_server, wait_for

MARK = "nk_in-a-query-that-nobody-may-show"
QUERY = b"?key=" + KEY


@pytest.fixture(scope="module")
def beacon_server(cluster: Cluster) -> Iterator[Server]:
    """A server that takes keys in the query."""
    settings = {"server.key_in_query": "true"}
    with (
        new_database(cluster) as url,
        running_server(("--database-url", url), make_key(url), settings) as running,
    ):
        yield running


@pytest.mark.parametrize("case", BEACONS, ids=lambda case: case.name)
def test_beacon_has_its_answer(beacon_server: Server, case: Case) -> None:
    """Exactly one key, in the query or in the header; text as well as JSON."""
    with connected(beacon_server.port) as client:
        answer = client.ask(case.with_key(beacon_server.key))
    if case.code is None:
        assert_success(answer, case.status)
    else:
        assert_refusal(answer, case.status, case.code)
    if case.status != 404:
        assert_open_to_browsers(answer)


@pytest.mark.parametrize("lane", LANES)
def test_beacon_is_stored_and_the_connection_goes_on(
    database_url: str, start_server: StartServer, lane: str
) -> None:
    """Beacons and plain requests on one connection, all of the key's app."""
    server = start_server(database_url, server__key_in_query="true", server__fast_lane=lane)
    requests = [beacon(QUERY), post(), beacon(QUERY, JSON), post(line=b"POST /event?a HTTP/1.1")]
    with connected(server.port) as client:
        ids = [
            assert_success(client.ask(request.replace(KEY, server.key.encode())))["id"]
            for request in requests
        ]
    rows = query(
        database_url,
        "SELECT e.id::text, a.name FROM events e JOIN apps a ON a.id = e.app_id ORDER BY e.id",
    )
    assert [tuple(row) for row in rows] == [(each, "test") for each in ids]


def test_key_in_the_query_is_ignored_unless_it_is_allowed(http_server: Server) -> None:
    """By default: 401 without a header, whatever the query says, and text is a 415."""
    with connected(http_server.port) as client:
        for request, status, code in [
            (beacon(QUERY), 401, "missing_api_key"),
            (beacon(QUERY, JSON), 401, "missing_api_key"),
            (beacon(b"", b"Content-Type: text/plain", b"X-API-Key: " + KEY), 415, None),
        ]:
            answer = client.ask(request.replace(KEY, http_server.key.encode()))
            assert_refusal(answer, status, code or "unsupported_media_type")


def test_revoked_key_in_the_query_is_refused(database_url: str, start_server: StartServer) -> None:
    """Within a second, as one in the header is."""
    server = start_server(database_url, server__key_in_query="true")
    request = beacon(QUERY).replace(KEY, server.key.encode())
    with connected(server.port) as client:
        assert_success(client.ask(request))
        query(database_url, "UPDATE api_keys SET revoked_at = now()")
        wait_for(lambda: client.ask(request).status == 401, timeout_s=5.0)
        assert_refusal(client.ask(request), 401, "invalid_api_key")


MARKED = b"POST /event?key=" + MARK.encode() + b" HTTP/1.1"
BAD = [
    post(line=MARKED),
    post(line=MARKED).replace(b"X-API-Key", b"X-Key"),
    post(line=MARKED.replace(b" HTTP/1.1", b"&key=b HTTP/1.1")),
    post(line=MARKED.replace(b"1.1", b"9.9")),
    post(line=MARKED.replace(b"1.1", b"2.0")),
    post(b"X-A : b", line=MARKED),
    post(b"X-A: " + b"b" * 9000, line=MARKED),
    post(line=MARKED.replace(b" HTTP", b"a" * 9000 + b" HTTP")),
    post(line=MARKED.replace(b"/event", b"/none")),
    post(line=MARKED.replace(b"/event", b"http://[v1.x]@/event")),
    post(line=MARKED.replace(b"/event", b"http://[::1/event")),
    post(line=MARKED.replace(b"/event", b"//\xff")),
    post(line=MARKED.replace(b"POST", b"GET")),
    post(line=MARKED.replace(b"POST", b"OPTIONS")),
    post(line=MARKED.replace(b"key=", b"key=%")),
    post(b"Transfer-Encoding: chunked", line=MARKED),
    post(b"Expect: magic", line=MARKED),
    join(MARKED, b"Host: a", b"Host: b"),
]


@pytest.mark.parametrize("allowed", ["true", "false"])
def test_query_is_never_logged_nor_repeated(
    database_url: str, start_server: StartServer, allowed: str
) -> None:
    """At level debug, over every kind of answer, malformed ones too, and over failing commits."""
    server = start_server(database_url, server__key_in_query=allowed, log__level="debug")
    received = b"".join(_answer(server, request) for request in BAD)
    good = post(line=WITH_KEY).replace(b"X-API-Key: " + KEY, b"X-A: b")
    received += _answer(server, good.replace(KEY, server.key.encode()))
    _interrupt(server, good.replace(KEY, server.key.encode()))
    query(database_url, "ALTER TABLE events RENAME TO elsewhere")
    received += _answer(server, good.replace(KEY, server.key.encode()))
    shown = server.get("/metrics").text + server.get("/readyz").text
    server.stop()
    logged = server.logs()
    assert [json.loads(line)["message"] for line in logged.splitlines()][-1] == "stopped"
    assert received.count(b'"status":') == len(BAD) + 2 - 1  # a preflight has no body
    for secret in (MARK, server.key, "key="):
        assert secret not in logged
        assert secret not in shown
        assert secret.encode() not in received or secret == "key="


def _answer(server: Server, request: bytes) -> bytes:
    """Return all that comes back, head and body."""
    with connected(server.port) as client:
        client.send(request)
        received = client.socket.recv(65536)
        client.half_close()
        while piece := client.socket.recv(65536):
            received += piece
    return received


def _interrupt(server: Server, request: bytes) -> None:
    """Go away in the middle of a head and of a body."""
    for part in (request[:60], request[: -len(EVENT)], request[:-1], request):
        client = RawClient(server.port)
        client.send(part, pause_s=0.05)
        client.reset()
    with connected(server.port) as client:
        assert client.ask(join(b"GET /healthz HTTP/1.1", HOST, ORIGIN)).status == 200
