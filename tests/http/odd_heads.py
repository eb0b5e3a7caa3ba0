"""Heads that look odd and are well-formed: what is taken and what is refused, and how."""

from tests.http.cases import (
    AUTH,
    BEARER,
    CRLF,
    EVENT,
    HOST,
    JSON,
    KEY,
    POST,
    Case,
    chunked,
    join,
    post,
    raw_chunks,
)

_LENGTH = b"Content-Length: %d" % len(EVENT)
_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)
_PADDING = b"p" * 7000


def _to(target: bytes) -> bytes:
    return post(line=b"POST %b HTTP/1.1" % target)


TAKEN = [
    Case("plain", post(), 200),
    Case("charset parameter", post().replace(JSON, JSON + b"; charset=utf-8"), 200),
    Case("charset parameter in capitals", post().replace(JSON, JSON + b';CHARSET="UTF-8"'), 200),
    Case("content type in capitals", post().replace(JSON, JSON.upper()), 200),
    Case(
        "header names in lower case",
        post().replace(b"Host", b"host").replace(b"X-API-Key", b"x-api-key"),
        200,
    ),
    Case(
        "header names in capitals",
        post().replace(b"Content-Length", b"CONTENT-LENGTH").replace(b"X-API-Key", b"X-API-KEY"),
        200,
    ),
    Case("no space behind the colons", post().replace(b": ", b":"), 200),
    Case("spaces around values", post().replace(b": ", b": \t ").replace(KEY, KEY + b" \t"), 200),
    Case("a length with zeros before it", post(length=b"Content-Length: 000041"), 200),
    Case("an empty header", post(b"X-A:"), 200),
    Case("a header given twice", post(b"X-A: b", b"X-A: b"), 200),
    Case("a value in other letters", post("X-A: Ü💥".encode()), 200),
    Case("a value of arbitrary bytes", post(b"X-A: \xff\xfe\x80"), 200),
    Case("a token as a header's name", post(b"!#$%&'*+-.^_`|~09azAZ: b"), 200),
    Case("a key as a bearer", post().replace(AUTH, BEARER), 200),
    Case("a bearer in other letters", post().replace(AUTH, b"AUTHORIZATION: bEARER  " + KEY), 200),
    Case("a key and a gateway's bearer", post(b"Authorization: Bearer eyJhbGciOi.J9.a"), 200),
    Case("a key and a proxy's password", post(b"Authorization: Basic YTpi"), 200),
    Case("sixty headers", post(*(b"X-%d: b" % n for n in range(55))), 200),
    Case("one long header", post(b"X-A: " + _PADDING), 200),
    Case("two long headers", post(*(b"X-%d: %b" % (n, _PADDING) for n in range(2))), 200),
    Case("a query", _to(b"/event?source=web&x=%00"), 200),
    Case("a long query", _to(b"/event?" + _PADDING), 200),
    Case("a fragment", _to(b"/event#f"), 200),
    Case("an escaped letter", _to(b"/%65vent"), 200),
    Case("an absolute target", _to(b"http://other.example/event"), 200),
    Case("two spaces before the target", _to(b" /event"), 200),
    Case("an empty line before the request", CRLF + post(), 200),
    Case("an odd host", post().replace(HOST, b"Host: a b@c/"), 200),
    Case("an empty host", post().replace(HOST, b"Host:"), 200),
    Case("cookies, an agent, a length and more", post(b"Cookie: a=b", b"Accept: */*"), 200),
    Case("asked to close", post(b"Connection: close"), 200, closes=True),
    Case("asked to close in capitals", post(b"Connection: CLOSE"), 200, closes=True),
    Case("asked to keep alive", post(b"Connection: keep-alive"), 200),
    Case("HTTP/1.0", post(line=b"POST /event HTTP/1.0"), 200, closes=True),
    Case(
        "HTTP/1.0 without a host",
        join(b"POST /event HTTP/1.0", AUTH, JSON, _LENGTH, body=EVENT),
        200,
        closes=True,
    ),
    Case(
        "HTTP/1.0 that keeps alive",
        post(b"Connection: keep-alive", line=b"POST /event HTTP/1.0"),
        200,
    ),
    Case(
        "HTTP/1.0 in chunks",
        raw_chunks(_CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0"),
        200,
        closes=True,
    ),
    Case("content encoding identity", post(b"Content-Encoding: identity"), 200),
    Case("one chunk", chunked(EVENT), 200),
    Case("a chunk for each byte", chunked(*(EVENT[n : n + 1] for n in range(len(EVENT)))), 200),
    Case("chunked in capitals", raw_chunks(_CHUNKS, b"Transfer-Encoding: CHUNKED"), 200),
    Case("a chunk size with zeros", raw_chunks(b"000" + _CHUNKS), 200),
    Case("a chunk extension", raw_chunks(_CHUNKS.replace(b"29\r\n", b'29;a=b;c="d"\r\n')), 200),
    Case("a trailer", chunked(EVENT, end=b"0\r\nX-A: b\r\n\r\n"), 200),
    Case("an upgrade to h2c", post(b"Connection: Upgrade", b"Upgrade: h2c"), 200),
    Case("an upgrade to websocket", post(b"Connection: upgrade", b"Upgrade: websocket"), 200),
    Case("an upgrade without Connection", post(b"Upgrade: websocket"), 200),
    Case("an expectation that the body outran", post(b"Expect: 100-continue"), 200),
]

REFUSED = [
    Case(
        "version 0.9",
        post(line=b"POST /event HTTP/0.9"),
        400,
        "bad_request",
        closes=True,
    ),
    Case("version 2.0", post(line=b"POST /event HTTP/2.0"), 400, "bad_request", closes=True),
    Case("no version", post(line=b"POST /event"), 400, "bad_request", closes=True),
    Case("two slashes", _to(b"//event"), 404, "not_found"),
    Case("a slash behind", _to(b"/event/"), 404, "not_found"),
    Case("another case", _to(b"/Event"), 404, "not_found"),
    Case("an escaped slash", _to(b"/%2Fevent"), 404, "not_found"),
    Case("a bad escape", _to(b"/%zz"), 404, "not_found"),
    Case("an escaped NUL", _to(b"/event%00"), 404, "not_found"),
    Case("dots in the path", _to(b"/x/../event"), 404, "not_found"),
    Case("an asterisk", join(b"OPTIONS * HTTP/1.1", HOST), 404, "not_found"),
    Case("an authority", join(b"CONNECT test:443 HTTP/1.1", HOST), 404, "not_found"),
    Case("an unknown expectation", post(b"Expect: magic"), 417, "expectation_failed"),
    Case(
        "a body behind a GET",
        post(line=b"GET /event HTTP/1.1"),
        405,
        "method_not_allowed",
    ),
    Case("two long parts", post(b"X-A: " + _PADDING * 2), 431, "headers_too_large", closes=True),
    Case("a long name", post(b"X" * 20_000 + b": b"), 431, "headers_too_large", closes=True),
    Case("a long target", _to(b"/" + _PADDING * 2), 431, "headers_too_large", closes=True),
    Case(
        "several long headers",
        post(*(b"X-%d: %b" % (n, _PADDING) for n in range(4))),
        431,
        "headers_too_large",
        closes=True,
    ),
    Case("a long method", b"P" * 20_000, 400, "bad_request", closes=True),
    Case(
        "a hundred headers",
        post(*(b"X-%d: b" % n for n in range(100))),
        431,
        "headers_too_large",
        closes=True,
    ),
    Case("a head without an end", POST + CRLF + HOST, 408, "request_timeout", closes=True),
    Case("half a request line", b"POST /ev", 408, "request_timeout", closes=True),
]

ODD = [*TAKEN, *REFUSED]
