"""What the contract refuses in well-formed HTTP: keys, paths, methods, types, sizes."""

from tests.http.cases import AUTH, BEARER, EVENT, HOST, JSON, KEY, POST, Case, chunked, join, post

BODY_BYTES_MAX = 1 << 20
_TOO_LARGE = b"Content-Length: %d" % (BODY_BYTES_MAX + 1)
_PIECE = b" " * 65536


def _key(name: str, code: str, *headers: bytes) -> Case:
    return Case(f"key: {name}", post().replace(AUTH, b"\r\n".join(headers)), 401, code)


def _path(method: bytes, path: bytes, status: int, code: str) -> Case:
    name = f"{method.decode()} {path.decode()}"
    return Case(name, join(b"%b %b HTTP/1.1" % (method, path), HOST), status, code)


def _type(name: str, *headers: bytes) -> Case:
    length = b"Content-Length: %d" % len(EVENT)
    request = join(POST, HOST, AUTH, length, *headers, body=EVENT)
    return Case(f"type: {name}", request, 415, "unsupported_media_type")


KEYS = [
    _key("none", "missing_api_key", b"X-A: b"),
    _key("empty", "missing_api_key", b"X-API-Key:"),
    _key("spaces", "missing_api_key", b"X-API-Key:  \t "),
    _key("empty twice", "missing_api_key", b"X-API-Key:", b"X-API-Key:"),
    _key("under another name", "missing_api_key", b"X-Key: " + KEY),
    _key("under another scheme", "missing_api_key", b"Authorization: Basic " + KEY),
    _key("without a scheme", "missing_api_key", b"Authorization: " + KEY),
    _key("a scheme without a key", "missing_api_key", b"Authorization: Bearer "),
    _key("a wrong bearer", "invalid_api_key", b"Authorization: Bearer nk_" + b"x" * 43),
    _key("a bearer of another kind", "invalid_api_key", b"Authorization: Bearer eyJhbGciOi.J9.a"),
    _key("a bearer and a word", "invalid_api_key", BEARER + b" a"),
    _key("two bearers", "invalid_api_key", BEARER, BEARER),
    _key("a bearer beside an empty key", "invalid_api_key", BEARER, b"X-API-Key:"),
    _key("in both headers", "invalid_api_key", AUTH, BEARER),
    _key("another one as a bearer", "invalid_api_key", AUTH, b"Authorization: bearer nk_x"),
    _key("arbitrary bytes as a bearer", "invalid_api_key", b"Authorization: Bearer \xff\xfe"),
    _key("wrong", "invalid_api_key", b"X-API-Key: nk_" + b"x" * 43),
    _key("short", "invalid_api_key", b"X-API-Key: " + KEY[:-1]),
    _key("long", "invalid_api_key", AUTH + b"K"),
    _key("in quotes", "invalid_api_key", b'X-API-Key: "' + KEY + b'"'),
    _key("with a scheme", "invalid_api_key", b"X-API-Key: Bearer " + KEY),
    _key("twice", "invalid_api_key", AUTH, AUTH),
    _key("twice in two cases", "invalid_api_key", AUTH, AUTH.lower().replace(KEY.lower(), KEY)),
    _key("a good and a bad one", "invalid_api_key", AUTH, b"X-API-Key: x"),
    _key("a bad and a good one", "invalid_api_key", b"X-API-Key: x", AUTH),
    _key("an empty and a good one", "invalid_api_key", b"X-API-Key:", AUTH),
    _key("a list", "invalid_api_key", AUTH + b", " + KEY),
    _key("in other letters", "invalid_api_key", "X-API-Key: nk_ü💥".encode()),
    _key("arbitrary bytes", "invalid_api_key", b"X-API-Key: \xff\xfe\x80"),
    _key("a good one and a byte", "invalid_api_key", AUTH + b"\xff"),
    _key("very long", "invalid_api_key", b"X-API-Key: " + b"k" * 8000),
]

PATHS = [
    _path(b"GET", b"/none", 404, "not_found"),
    _path(b"POST", b"/none", 404, "not_found"),
    _path(b"GET", b"/event.json", 404, "not_found"),
    _path(b"GET", b"/../../etc/passwd", 404, "not_found"),
    _path(b"GET", b"/%2e%2e/etc/passwd", 404, "not_found"),
    _path(b"GET", b"/<script>alert(1)</script>", 404, "not_found"),
    _path(b"GET", b"/event", 405, "method_not_allowed"),
    _path(b"PUT", b"/event", 405, "method_not_allowed"),
    _path(b"PATCH", b"/event", 405, "method_not_allowed"),
    _path(b"DELETE", b"/event", 405, "method_not_allowed"),
    _path(b"OPTIONS", b"/none", 404, "not_found"),
    _path(b"OPTIONS", b"/metrics", 405, "method_not_allowed"),
    _path(b"TRACE", b"/event", 405, "method_not_allowed"),
    _path(b"POST", b"/healthz", 405, "method_not_allowed"),
    _path(b"POST", b"/readyz", 405, "method_not_allowed"),
    _path(b"DELETE", b"/metrics", 405, "method_not_allowed"),
]

TYPES = [
    _type("none"),
    _type("empty", b"Content-Type:"),
    _type("text", b"Content-Type: text/plain"),
    _type("a form", b"Content-Type: application/x-www-form-urlencoded"),
    _type("a form with files", b"Content-Type: multipart/form-data; boundary=a"),
    _type("NDJSON", b"Content-Type: application/x-ndjson"),
    _type("lines", b"Content-Type: application/jsonl"),
    _type("a suffix of another type", b"Content-Type: text/a+json"),
    _type("only a suffix", b"Content-Type: application/+json"),
    _type("two words and a suffix", b"Content-Type: application/a b+json"),
    _type("Latin-1", JSON + b"; charset=iso-8859-1"),
    _type("UTF-16", JSON + b'; charset="utf-16"'),
    _type("Latin-1 in capitals", JSON + b"; a=b; CHARSET=Latin1"),
    _type("Latin-1 as an extended value", JSON + b"; charset*=utf-8''latin1"),
    _type("a longer word", b"Content-Type: application/jsonx"),
    _type("only JSON", b"Content-Type: json"),
    _type("a list", b"Content-Type: application/json, text/plain"),
    _type("only a parameter", b"Content-Type: ;charset=utf-8"),
    _type("arbitrary bytes", b"Content-Type: \xff\xfe"),
    _type("gzip", JSON, b"Content-Encoding: gzip"),
    _type("gzip in capitals", JSON, b"Content-Encoding: GZIP"),
    _type("deflate", JSON, b"Content-Encoding: deflate"),
    _type("br", JSON, b"Content-Encoding: br"),
    _type("zstd", JSON, b"Content-Encoding: zstd"),
    _type("an unknown encoding", JSON, b"Content-Encoding: rot13"),
    _type("two encodings", JSON, b"Content-Encoding: identity, gzip"),
    _type("two lines of encodings", JSON, b"Content-Encoding: identity", b"Content-Encoding: gzip"),
]

SIZES = [
    Case("a body past the limit", post(body=b" " * (BODY_BYTES_MAX + 1)), 413, "payload_too_large"),
    Case("chunks past the limit", chunked(*[_PIECE] * 16, b"  "), 413, "payload_too_large"),
    Case("a body at the limit", post(body=EVENT + b" " * (BODY_BYTES_MAX - len(EVENT))), 200),
    Case("chunks at the limit", chunked(EVENT, b" " * (BODY_BYTES_MAX - len(EVENT))), 200),
]

TOO_LARGE_HEADS = [
    post(body=b"", length=_TOO_LARGE),
    post(b"Expect: 100-continue", body=b"", length=_TOO_LARGE),
    post(body=b"", length=b"Content-Length: 9000000000000000000"),
]
"""Heads alone: what they announce is refused before any of it is sent."""

REFUSALS = [*KEYS, *PATHS, *TYPES, *SIZES]
