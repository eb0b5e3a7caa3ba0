"""What browsers and patient clients send: origins, preflights, preferences, keys in the query."""

from tests.http.cases import AUTH, BEARER, EVENT, HOST, JSON, KEY, Case, join, post

ORIGIN = b"Origin: https://shop.example"
OPTIONS = b"OPTIONS /event HTTP/1.1"
WITH_KEY = b"POST /event?key=" + KEY + b" HTTP/1.1"
_LENGTH = b"Content-Length: %d" % len(EVENT)
_TEXT = b"Content-Type: text/plain;charset=UTF-8"


def _prefer(name: str, *values: bytes, status: int = 202) -> Case:
    return Case(f"prefer: {name}", post(*(b"Prefer: " + value for value in values)), status)


def beacon(query: bytes, *headers: bytes, body: bytes = EVENT) -> bytes:
    """Return what `navigator.sendBeacon` sends with a query: text, and no key in a header."""
    line = b"POST /event%b HTTP/1.1" % query
    length = b"Content-Length: %d" % len(body)
    return join(line, HOST, ORIGIN, *(headers or (_TEXT,)), length, body=body)


def _query(name: str, query: bytes, status: int = 200, code: str | None = None) -> Case:
    return Case(f"query: {name}", beacon(query, JSON), status, code)


def _refused(name: str, query: bytes, code: str, *headers: bytes) -> Case:
    return Case(f"beacon: {name}", beacon(query, _TEXT, *headers), 401, code)


def _taken(name: str, query: bytes, *headers: bytes) -> Case:
    return Case(f"beacon: {name}", beacon(query, *headers), 200)


CROSS_ORIGIN = [
    Case("a request from a page", post(ORIGIN, b"Sec-Fetch-Mode: cors"), 200),
    Case("a request from nowhere", post(b"Origin: null"), 200),
    Case(
        "a preflight",
        join(
            OPTIONS,
            HOST,
            ORIGIN,
            b"Access-Control-Request-Method: POST",
            b"Access-Control-Request-Headers: content-type,x-api-key",
        ),
        204,
    ),
    Case("a preflight for what is not allowed", join(OPTIONS, HOST, b"X-A: DELETE"), 204),
    Case("a preflight of HTTP/1.0", join(b"OPTIONS /event HTTP/1.0"), 204, closes=True),
    Case("a preflight with a body", join(OPTIONS, HOST, _LENGTH, body=EVENT), 204),
]

PREFERENCES = [
    _prefer("respond-async", b"respond-async"),
    _prefer("respond-async among others", b"wait=10, Respond-Async;a=b, return=minimal"),
    _prefer("respond-async in a second header", b"handling=lenient", b"respond-async"),
    _prefer("something unknown", b"priority=5", status=200),
    _prefer("only return=minimal", b"return=minimal", status=200),
    _prefer("nothing", b"", status=200),
    _prefer("something malformed", b"respond-async, =", status=200),
    Case("prefer: respond-async for a bad event", post(b"Prefer: respond-async", body=b"{}"), 400,
         "missing_event_name"),
]  # fmt: skip

KEYS_NOT_ALLOWED = [
    _query("a key", b"?key=" + KEY, 401, "missing_api_key"),
    _query("a wrong key", b"?key=nk_x", 401, "missing_api_key"),
    Case("query: a key and a key's header", post(line=WITH_KEY), 200),
    Case("query: a wrong key and a header", post(line=b"POST /event?key=x HTTP/1.1"), 200),
    Case("query: text and a header", beacon(b"", AUTH, _TEXT), 415, "unsupported_media_type"),
]

BROWSERS = [*CROSS_ORIGIN, *PREFERENCES, *KEYS_NOT_ALLOWED]

BEACONS = [
    _taken("text", b"?key=" + KEY),
    _taken("text without a charset", b"?key=" + KEY, b"Content-Type: text/plain"),
    _taken("text in capitals", b"?key=" + KEY, b"Content-Type: TEXT/PLAIN; Charset=utf-8"),
    _taken("JSON", b"?key=" + KEY, JSON),
    _taken("a key between others", b"?v=2&key=" + KEY + b"&a=b&&=&a"),
    _taken("a key's header and text", b"", AUTH, _TEXT),
    _taken("another query and a key's header", b"?v=2&apikey=x&k=", AUTH, _TEXT),
    _refused("no key", b"", "missing_api_key"),
    _refused("an empty query", b"?", "missing_api_key"),
    _refused("an empty key", b"?key=", "missing_api_key"),
    _refused("a key without a value", b"?key", "missing_api_key"),
    _refused("a key under a longer name", b"?apikey=" + KEY, "missing_api_key"),
    _refused("a key in capitals", b"?KEY=" + KEY, "missing_api_key"),
    _refused("a name that is escaped", b"?%6bey=" + KEY, "missing_api_key"),
    _refused("another separator", b"?v=2;key=" + KEY, "missing_api_key"),
    _refused("a key that reads", b"?key=nr_" + b"x" * 43, "invalid_api_key"),
    _refused("a wrong key", b"?key=nk_" + b"x" * 43, "invalid_api_key"),
    _refused("a key that is escaped", b"?key=%6e" + KEY[1:], "invalid_api_key"),
    _refused("a key and a blank", b"?key=" + KEY + b"+", "invalid_api_key"),
    _refused("a key twice", b"?key=" + KEY + b"&key=" + KEY, "invalid_api_key"),
    _refused("a key and an empty one", b"?key=" + KEY + b"&key=", "invalid_api_key"),
    _refused("a key in both places", b"?key=" + KEY, "invalid_api_key", AUTH),
    _refused("a key and a bearer", b"?key=" + KEY, "invalid_api_key", BEARER),
    _taken("a key and a gateway's bearer", b"?key=" + KEY, _TEXT, b"Authorization: Bearer a.b"),
    _taken("a bearer and text", b"", BEARER, _TEXT),
    _refused("an empty key and a header", b"?key=", "invalid_api_key", AUTH),
    _refused("a key and an empty header", b"?key=" + KEY, "invalid_api_key", b"X-API-Key:"),
    _refused("a thousand keys", b"?" + b"key=a&" * 1000, "invalid_api_key"),
    Case(
        "beacon: a form",
        beacon(b"?key=" + KEY, b"Content-Type: application/x-www-form-urlencoded"),
        415,
        "unsupported_media_type",
    ),
    Case("beacon: a fragment", beacon(b"#?key=" + KEY), 404, "not_found"),
    Case("beacon: a bad event", beacon(b"?key=" + KEY, body=b"a=b"), 400, "invalid_json"),
    Case(
        "beacon: another path",
        join(b"POST /none?key=" + KEY + b" HTTP/1.1", HOST, _TEXT, _LENGTH, body=EVENT),
        404,
        "not_found",
    ),
]
"""What `server.key_in_query` changes; with it on."""
