"""The fast lane's grammar, rule by rule: it takes exactly the plain form and defers the rest."""

import time
from unittest.mock import patch

import pytest

from bench.agreement import fuzz
from ingest.http import head
from ingest.http.head import HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_BYTES_MAX, Head, parse
from ingest.store.apps import App
from ingest.store.keyring import Grant

KEY = "nk_" + "k" * 43
LINE = b"POST /event HTTP/1.1"
HOST = b"Host: localhost:8080"
AUTH = b"X-API-Key: " + KEY.encode()
JSON = b"Content-Type: application/json"
LENGTH = b"Content-Length: 41"
PLAIN = (LINE, HOST, AUTH, JSON, LENGTH)


def head_of(*lines: bytes) -> bytes:
    """Return a head of these lines."""
    return b"".join(line + b"\r\n" for line in (*lines, b""))


def parsed(*lines: bytes) -> Head | None:
    """Return what the fast lane makes of a head; the one valid key belongs to app 7."""
    return parse(head_of(*lines), lambda key: Grant(App(7, "shop"), None) if key == KEY else None)


def without(line: bytes, *instead: bytes) -> tuple[bytes, ...]:
    """Return the plain head's lines without one, or with others in its place."""
    place = PLAIN.index(line)
    return (*PLAIN[:place], *instead, *PLAIN[place + 1 :])


def test_plain_head_says_whose_event_follows_and_where_it_ends() -> None:
    """The app of the key, and the size of head and body."""
    head = parsed(*PLAIN)
    assert head is not None
    assert (head.app.id, head.request_bytes) == (7, len(head_of(*PLAIN)) + 41)


@pytest.mark.parametrize(
    "lines",
    [
        (LINE, LENGTH, JSON, AUTH, HOST),
        (LINE, *(line.lower() if line != AUTH else AUTH for line in PLAIN[1:])),
        without(AUTH, b"x-api-KEY:" + KEY.encode()),
        without(AUTH, b"X-API-Key:   " + KEY.encode() + b"  "),
        without(AUTH, b"Authorization: Bearer " + KEY.encode()),
        without(AUTH, b"authorization: bearer  " + KEY.encode()),
        (*PLAIN, b"Authorization: Basic YTpi"),
        (*PLAIN, b"Authorization: Bearer eyJhbGciOi.J9.a"),
        without(JSON, b"Content-Type: application/json; charset=utf-8"),
        without(JSON, b"Content-Type: APPLICATION/JSON;charset=UTF-8"),
        (*PLAIN, b"Connection: keep-alive"),
        (*PLAIN, b"Connection: Keep-Alive"),
        (*PLAIN, b"User-Agent: curl/8.1 (x; y) ~", b"Accept: */*", b"Accept-Encoding: gzip"),
        (*PLAIN, b"!#$%&'*+-.^_`|~: x"),
        (*PLAIN, b"Origin: https://shop.example", b"Sec-Fetch-Mode: cors"),
        without(LENGTH, b"Content-Length: 0"),
        without(LENGTH, b"Content-Length: 000000041"),
        (*PLAIN, *(b"X-%d: a" % number for number in range(HEADERS_MAX - 4))),
    ],
)
def test_variants_of_the_plain_form_are_taken(lines: tuple[bytes, ...]) -> None:
    """Order, letter case, spaces around a value, further headers."""
    assert parsed(*lines) is not None


@pytest.mark.parametrize(
    "line",
    [
        b"GET /event HTTP/1.1",
        b"POST /events HTTP/1.1",
        b"POST //event HTTP/1.1",
        b"POST /event/ HTTP/1.1",
        b"POST /event?a=b HTTP/1.1",
        b"POST /%65vent HTTP/1.1",
        b"POST http://localhost/event HTTP/1.1",
        b"POST  /event HTTP/1.1",
        b"POST /event HTTP/1.0",
        b"POST /event HTTP/2.0",
        b"POST /event",
        b"post /event HTTP/1.1",
        b" POST /event HTTP/1.1",
        b"\r\nPOST /event HTTP/1.1",
    ],
)
def test_other_request_lines_are_deferred(line: bytes) -> None:
    """Another method, target, version or spelling is aiohttp's to judge."""
    assert parsed(line, *PLAIN[1:]) is None


@pytest.mark.parametrize("line", PLAIN[1:])
def test_required_header_that_is_missing_or_doubled_is_deferred(line: bytes) -> None:
    """Each of the four, also when the second differs in letter case only."""
    name, _, value = line.partition(b":")
    assert parsed(*without(line)) is None
    assert parsed(*without(line, line, line)) is None
    assert parsed(*without(line, line, name.upper() + b":" + value)) is None
    assert parsed(*without(line, name + b":")) is None


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: identity",
        b"Content-Encoding: gzip",
        b"Expect: 100-continue",
        b"Prefer: respond-async",
        b"Prefer: a",
        b"Idempotency-Key: a",
        b"Upgrade: h2c",
        b"Trailer: X",
        b"TE: trailers",
        b"Proxy-Connection: close",
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
        b"Sec-WebSocket-Key1: a",
        b"Connection: close",
        b"Connection: keep-alive, close",
        b"Connection: upgrade",
        b"Connection:",
    ],
)
def test_header_that_changes_how_a_request_is_read_or_answered_is_deferred(line: bytes) -> None:
    """Every one of them, whatever its value."""
    assert parsed(*PLAIN, line) is None
    assert parsed(LINE, line, *PLAIN[1:]) is None


@pytest.mark.parametrize(
    "line",
    [
        b"X-A",
        b"X-A:",
        b": a",
        b"X-A : a",
        b" X-A: a",
        b"X A: a",
        b"X-A: a\tb",
        b"X-A: a\0b",
        b"X-A: a\rb",
        b"X-A: a\nX-B: b",
        b"X-A: a\r\n b",
        b"X-A: a\r\n\tb",
        b"X-A: \x7f",
        b"X-A: \x80",
        b"X-A: \xff",
        "X-Ä: a".encode(),
        b"X(A: a",
    ],
)
def test_header_of_odd_characters_is_deferred(line: bytes) -> None:
    """Folding, bare CR or LF, NUL, tabs, bytes past ASCII, spaces before the colon."""
    assert parsed(LINE, line, *PLAIN[1:]) is None


@pytest.mark.parametrize(
    "length", [b"+41", b"-41", b"0x29", b"4_1", b"41, 41", b"41 41", b"4 1", b"1" * 10, b"4e1"]
)
def test_odd_length_is_deferred(length: bytes) -> None:
    """Only one to nine digits."""
    assert parsed(*without(LENGTH, b"Content-Length: " + length)) is None


@pytest.mark.parametrize(
    "host", [b"a b", b"a@b", b"a/b", b"a,b", b"a?b", b"a#b", b"a\\b", b"a%20b", b'"a"']
)
def test_odd_host_is_deferred(host: bytes) -> None:
    """Only what names and addresses are made of."""
    assert parsed(*without(HOST, b"Host: " + host)) is None


@pytest.mark.parametrize("key", [b"nk_wrong", KEY.encode()[:-1], KEY.encode() + b"k", b"a, b"])
def test_key_that_is_not_valid_is_deferred(key: bytes) -> None:
    """It is aiohttp's lane that says 401."""
    assert parsed(*without(AUTH, b"X-API-Key: " + key)) is None
    assert parsed(*without(AUTH, b"Authorization: Bearer " + key)) is None
    assert parsed(*PLAIN, b"Authorization: Bearer nk_" + key) is None


def test_bounds_hold() -> None:
    """On the head's size, the number of headers, and the request's size."""
    long = b"X-A: " + b"a" * (HEAD_BYTES_MAX - len(head_of(*PLAIN)) - len(b"X-A: \r\n"))
    assert parsed(*PLAIN, long) is not None
    assert parsed(*PLAIN, long + b"a") is None
    many = [b"X-%d: a" % number for number in range(HEADERS_MAX - 3)]
    assert parsed(*PLAIN, *many) is None
    most = REQUEST_BYTES_MAX - len(head_of(*without(LENGTH, b"Content-Length: 12345")))
    assert parsed(*without(LENGTH, b"Content-Length: %d" % most)) is not None
    assert parsed(*without(LENGTH, b"Content-Length: %d" % (most + 1))) is None


def test_parsing_takes_time_in_proportion_to_the_head() -> None:
    """The largest hostile heads cost about as much as harmless ones of their size (no ReDoS)."""
    hostile = (b": " * 2000, b"a" * 4000, b"\t " * 2000, b"a:" * 2000, b"a: b\r\n" * 600)
    for line in hostile:
        started_s = time.process_time()
        for _ in range(100):
            parsed(*PLAIN, line)
        assert time.process_time() - started_s < 1  # 10 ms each; measured: below 0.1


def test_mutated_heads_are_taken_only_as_aiohttp_takes_them() -> None:
    """A short run of the differential fuzz; `python -m bench fuzz` makes the long one."""
    result = fuzz.run(50_000, seed=time.time_ns())
    assert result.accepted > 5_000
    assert result.divergences == []


@pytest.mark.parametrize(
    ("rule", "weakened"),
    [
        ("DEFERRED", frozenset[bytes]()),
        ("_NAME", bytes(range(0x20, 0x7F))),
        ("_DIGITS", b"0123456789+-"),
        ("_VALUE", bytes(range(128))),
    ],
)
def test_fuzz_finds_a_rule_that_is_too_weak(rule: str, weakened: object) -> None:
    """The fuzz itself is tested: without the rule it reports a divergence."""
    with patch.object(head, rule, weakened):
        assert fuzz.run(30_000, seed=4).divergences
