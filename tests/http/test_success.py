"""What a 200 says, to the byte, and that the row is what it says."""

import json
import re
import time
from datetime import datetime
from decimal import Decimal
from uuid import RFC_4122, UUID

import pytest

from tests.http.cases import EVENT, HOST, KEY, chunked, join, post
from tests.http.checks import assert_success, query
from tests.support.raw import RawClient, connected
from tests.support.server import Server

ANSWER = (
    b'{"status":"success","data":[{"id":"%b","event_name":"%b","event_params":%b,'
    b'"created_at":"%b"}]}'
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CLOCK_SLACK_S = 5.0
MANY = 50

PARAMS = {
    "odd spacing": b'{ "b" :\t[ 1 ,2\r\n] , "a":{ } }',
    "keys in their order": b'{"z":1,"a":2,"m":{"y":1,"b":2}}',
    "a key given twice": b'{"a":1,"a":2,"b":{"c":1,"c":2}}',
    "escapes": b'{"a":"\\u00e9\\n\\"\\\\\\/\\ud83d\\udca5","\\u0061b":1}',
    "an escaped backslash before u0000": b'{"a":"\\\\u0000"}',
    "other letters": '{"Ü":"💥 日本語 \u2028\x7f"}'.encode(),
    "an integer of 30 digits": b'{"a":123456789012345678901234567890}',
    "a long fraction": b'{"a":0.1234567890123456789}',
    "a zero at the end": b'{"a":1.10,"b":100.000}',
    "minus zero": b'{"a":-0,"b":-0.0}',
    "exponents": b'{"a":1e2,"b":1E+2,"c":15e-1,"d":0e0}',
    "the largest and the smallest": b'{"a":1.7976931348623157e308,"b":5e-324}',
    "400 digits": b'{"a":0.%b}' % (b"7" * 399),
    "nothing": b"{}",
    "nothing and spaces": b"{ \n }",
    "all types": b'{"a":null,"b":true,"c":false,"d":[],"e":{},"f":"","g":[[null]]}',
}
NAMES = {
    "one character": "a",
    "255 characters": "a" * 255,
    "255 astral characters": "💥" * 255,
    "spaces": " a  b ",
    "quotes and a backslash": 'a"b\\c',
    "markup": "<b>&amp;</b>",
}


def ask(server: Server, request: bytes) -> tuple[dict[str, object], bytes]:
    """Send a request on a connection of its own; return the row and the whole body."""
    with connected(server.port) as client:
        answer = client.ask(request.replace(KEY, server.key.encode()))
    return assert_success(answer), answer.body


def exact(text: str | bytes) -> object:
    """Decode JSON without rounding a number."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS.keys())
def test_params_are_echoed_byte_for_byte_and_stored_with_every_digit(
    http_server: Server, http_url: str, params: bytes
) -> None:
    """The answer is the template to the byte, and jsonb holds an equal value."""
    event = b'{"event_name":"a","event_params":' + params + b"}"
    row, body = ask(http_server, post(body=event))
    identity, created_at = str(row["id"]).encode(), str(row["created_at"]).encode()
    assert body == ANSWER % (identity, b"a", params, created_at)
    (stored,) = query(
        http_url, "SELECT event_params::text AS params FROM events WHERE id = $1", row["id"]
    )
    assert exact(stored["params"]) == exact(params)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_name_comes_back_and_is_stored(http_server: Server, http_url: str, name: str) -> None:
    """Names of every length allowed, however they are escaped on the way in."""
    for text in (json.dumps(name), json.dumps(name, ensure_ascii=False)):
        row, _ = ask(http_server, post(body=b'{"event_name":%b}' % text.encode()))
        (stored,) = query(http_url, "SELECT event_name FROM events WHERE id = $1", row["id"])
        assert row["event_name"] == stored["event_name"] == name


@pytest.mark.parametrize(
    "event",
    [
        b'{"event_name":"a"}',
        b'{"event_name":"a","event_params":null}',
        b'{"event_name":"a","event_params":{}}',
        b' { "event_params" : null , "event_name" : "a" } ',
    ],
)
def test_absent_null_and_empty_params_are_an_empty_object(
    http_server: Server, http_url: str, event: bytes
) -> None:
    """All of them are answered and stored as {}."""
    row, body = ask(http_server, post(body=event))
    (stored,) = query(http_url, "SELECT event_params::text FROM events WHERE id = $1", row["id"])
    assert b'"event_params":{},' in body
    assert stored[0] == "{}"


def test_id_is_a_uuid_of_version_7_with_the_time_of_receipt(http_server: Server) -> None:
    """Version, variant and time are as RFC 9562 has them; later ids are larger."""
    with connected(http_server.port) as client:
        request = post().replace(KEY, http_server.key.encode())
        rows = [assert_success(client.ask(request)) for _ in range(MANY)]
    ids = [UUID(row["id"]) for row in rows]
    assert all(str(each) == row["id"] for each, row in zip(ids, rows, strict=True))
    assert {each.version for each in ids} == {7}
    assert {each.variant for each in ids} == {RFC_4122}
    assert all(abs((each.int >> 80) / 1000 - time.time()) < CLOCK_SLACK_S for each in ids)
    assert ids == sorted(set(ids))


def test_created_at_is_the_stored_column_and_now(http_server: Server, http_url: str) -> None:
    """RFC 3339 in UTC with milliseconds, equal to the column to the microsecond."""
    row, _ = ask(http_server, post())
    text = str(row["created_at"])
    (stored,) = query(http_url, "SELECT created_at FROM events WHERE id = $1", row["id"])
    assert TIME.fullmatch(text)
    assert datetime.fromisoformat(text) == stored["created_at"]
    assert abs(datetime.fromisoformat(text).timestamp() - time.time()) < CLOCK_SLACK_S


@pytest.mark.parametrize("request_bytes", [post(), chunked(EVENT[:9], EVENT[9:])])
def test_request_may_come_byte_by_byte(http_server: Server, request_bytes: bytes) -> None:
    """However a request is cut into segments, its answer is the same."""
    request = request_bytes.replace(KEY, http_server.key.encode())
    with connected(http_server.port) as client:
        client.send(*(request[n : n + 1] for n in range(len(request))))
        row = assert_success(client.read())
        assert (row["event_name"], row["event_params"]) == ("a", {"b": 1})
        assert assert_success(client.ask(request))["id"] != row["id"]


@pytest.mark.parametrize("at", [1, 20, 60, len(post()) - len(EVENT), len(post()) - 1])
def test_request_may_come_in_two_segments(http_server: Server, at: int) -> None:
    """Also with a pause between them, in the head or in the body."""
    request = post().replace(KEY, http_server.key.encode())
    with connected(http_server.port) as client:
        client.send(request[:at], pause_s=0.02)
        client.send(request[at:])
        assert_success(client.read())


def numbered(server: Server, number: int) -> bytes:
    """Return a request with a number in its params."""
    event = b'{"event_name":"n","event_params":{"n":%d}}' % number
    return post(body=event).replace(KEY, server.key.encode())


def test_connection_serves_many_requests(http_server: Server) -> None:
    """One after another, good and bad ones mixed, each with its own answer."""
    with connected(http_server.port) as client:
        for number in range(MANY):
            row = assert_success(client.ask(numbered(http_server, number)))
            assert row["event_params"] == {"n": number}
            assert client.ask(join(b"GET /none HTTP/1.1", HOST)).status == 404


def test_pipelined_requests_are_answered_in_their_order(http_server: Server) -> None:
    """Many requests in one segment, more than aiohttp queues at once."""
    with connected(http_server.port) as client:
        client.send(b"".join(numbered(http_server, number) for number in range(MANY * 3)))
        rows = [assert_success(client.read()) for _ in range(MANY * 3)]
    assert [row["event_params"]["n"] for row in rows] == list(range(MANY * 3))


def test_pipelined_bad_request_costs_only_its_own_answer(http_server: Server) -> None:
    """A refused event between two good ones, all in one segment."""
    good = post().replace(KEY, http_server.key.encode())
    bad = post(body=b"{}").replace(KEY, http_server.key.encode())
    with connected(http_server.port) as client:
        client.send(good + bad + good)
        assert [client.read().status for _ in range(3)] == [200, 400, 200]


def test_expectation_gets_100_and_then_200(http_server: Server) -> None:
    """A client that waits to be asked for its body is asked, and only once."""
    request = post(b"Expect: 100-continue").replace(KEY, http_server.key.encode())
    with connected(http_server.port) as client:
        client.send(request.removesuffix(EVENT))
        interim = client.read()
        assert (interim.status, interim.headers) == (100, {})
        client.send(EVENT)
        assert_success(client.read())
        assert client.is_silent(0.1)


def test_expectation_of_http_1_0_gets_no_100(http_server: Server) -> None:
    """Such a client knows no interim answers."""
    request = post(b"Expect: 100-continue", line=b"POST /event HTTP/1.0")
    with connected(http_server.port) as client:
        client.send(request.removesuffix(EVENT).replace(KEY, http_server.key.encode()))
        assert client.is_silent(0.1)
        client.send(EVENT)
        assert_success(client.read())


def test_connections_do_not_get_each_others_answers(http_server: Server) -> None:
    """Fifty connections send before any of them reads."""
    clients = [RawClient(http_server.port) for _ in range(MANY)]
    for number, client in enumerate(clients):
        client.send(numbered(http_server, number))
    rows = [assert_success(client.read()) for client in clients]
    for client in clients:
        client.close()
    assert [row["event_params"]["n"] for row in rows] == list(range(MANY))
