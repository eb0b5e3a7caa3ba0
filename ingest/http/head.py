"""The head of a plain `POST /event`: the grammar of what the fast lane accepts, and its parser.

What is accepted::

    request = "POST /event HTTP/1.1" CRLF 1*( name ":" *SP value *SP CRLF ) CRLF body
    name    = 1*tchar (RFC 9110, 5.6.2), no name twice, whatever the case
    value   = 1*( %x20-7E ), without spaces at its ends

with these headers, in any order, and any others but those that would change how the request is
read or answered (DEFERRED)::

    Host            1*( ALPHA / DIGIT / "." / "-" / "_" / ":" / "[" / "]" )
    Content-Length  1*9DIGIT, head and body together at most REQUEST_BYTES_MAX
    Content-Type    application/json, with or without charset=utf-8
    X-API-Key       a key that is valid now, for all pages and names of events, or in its place
    Authorization   "Bearer" SP such a key
    Connection      keep-alive, or absent
"""

from collections.abc import Callable
from typing import Final

from ingest.http.authentication import with_bearers
from ingest.http.request_id import REQUEST_ID, TRACEPARENT, request_id_of
from ingest.store.keyring import Grant

REQUEST_LINE: Final = b"POST /event HTTP/1.1\r\n"
HEAD_BYTES_MAX: Final = 4096
HEADERS_MAX: Final = 32
REQUEST_BYTES_MAX: Final = 65_536
DEFERRED: Final = frozenset(
    {
        b"transfer-encoding",
        b"content-encoding",
        b"expect",
        b"prefer",
        b"idempotency-key",
        b"upgrade",
        b"trailer",
        b"te",
        b"proxy-connection",
        b"http2-settings",
        b"sec-websocket-key1",
        b"ce-specversion",
    }
)
REQUIRED: Final = frozenset({b"host", b"content-length", b"content-type"})
UNIQUE: Final = frozenset(
    {
        REQUEST_ID.lower().encode(),
        TRACEPARENT.encode(),
        b"tracestate",
        b"baggage",
        b"sentry-trace",
        b"b3",
        b"x-b3-spanid",
        b"x-amzn-trace-id",
        b"x-cloud-trace-context",
        b"x-datadog-parent-id",
        b"x-correlation-id",
        b"request-id",
        b"uber-trace-id",
        b"cf-ray",
    }
)
"""Headers that differ in each request: a head with one of them is never met again."""
CONTENT_TYPES: Final = frozenset(
    {
        b"application/json",
        b"application/json; charset=utf-8",
        b"application/json;charset=utf-8",
    }
)

END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH_DIGITS_MAX: Final = 9
_LETTERS_DIGITS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_NAME: Final = _LETTERS_DIGITS + b"!#$%&'*+-.^_`|~"
_HOST: Final = _LETTERS_DIGITS + b".-_:[]"
_VALUE: Final = bytes(range(0x20, 0x7F))
_DIGITS: Final = b"0123456789"
_REQUEST_ID: Final = REQUEST_ID.lower().encode()
_TRACEPARENT: Final = TRACEPARENT.encode()
_API_KEY: Final = b"x-api-key"
_AUTHORIZATION: Final = b"authorization"


GrantOf = Callable[[str], Grant | None]
"""Says what a key opens to any page for any event, if it is one."""


class Head:
    """An accepted head: whose event follows, and where it ends."""

    __slots__ = (
        "allowance",
        "app",
        "body_bytes",
        "is_attended",
        "is_plain",
        "is_repeated",
        "request_bytes",
        "request_id",
    )

    def __init__(
        self,
        grant: Grant,
        request_bytes: int,
        body_bytes: int,
        request_id: str = "",
        *,
        is_repeated: bool = True,
    ) -> None:
        self.app = grant.app
        self.allowance = grant.allowance
        self.body_bytes = body_bytes
        self.request_bytes = request_bytes
        """The size of head and body together."""
        self.request_id = request_id
        """What the answer repeats; empty for none."""
        self.is_repeated = is_repeated
        """Whether its client is likely to send the same bytes again."""
        self.is_attended = bool(request_id)
        """Whether its answer is not like all others, or logged."""
        self.is_plain = not request_id and grant.allowance is None
        """Whether nothing is to be done for its request but to store the event and answer."""

    def attend(self) -> None:
        """Have the answer to its request be logged."""
        self.is_attended, self.is_plain = True, False


def parse(head: bytes, grant_of: GrantOf, body_bytes_max: int = REQUEST_BYTES_MAX) -> Head | None:
    """Return what a whole head says, its empty line included; None for whatever is to be deferred.

    Linear in the head's size: no regular expression, so nothing to backtrack.
    """
    if not head.startswith(REQUEST_LINE) or len(head) > HEAD_BYTES_MAX:
        return None
    headers: dict[bytes, bytes] = {}
    for line in head[len(REQUEST_LINE) : -len(END_OF_HEAD)].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" ")
        if not _is_made_of(name, _NAME) or not _is_made_of(value, _VALUE) or name in headers:
            return None
        headers[name] = value
    if len(headers) > HEADERS_MAX or not headers.keys() >= REQUIRED:
        return None
    if not DEFERRED.isdisjoint(headers):
        return None
    return _understand(headers, len(head), grant_of, body_bytes_max)


def _understand(
    headers: dict[bytes, bytes], head_bytes: int, grant_of: GrantOf, body_bytes_max: int
) -> Head | None:
    length = headers[b"content-length"]
    if (
        not _is_made_of(length, _DIGITS)
        or len(length) > _LENGTH_DIGITS_MAX
        or not _is_made_of(headers[b"host"], _HOST)
        or headers[b"content-type"].lower() not in CONTENT_TYPES
        or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive"
    ):
        return None
    body_bytes = int(length)
    if body_bytes > body_bytes_max or head_bytes + body_bytes > REQUEST_BYTES_MAX:
        return None
    secrets = _secrets_of(headers)
    grant = grant_of(secrets[0]) if len(secrets) == 1 else None
    if grant is None:
        return None
    is_repeated = UNIQUE.isdisjoint(headers)
    request_id = "" if is_repeated else _request_id_of(headers)
    request_bytes = head_bytes + body_bytes
    return Head(grant, request_bytes, body_bytes, request_id, is_repeated=is_repeated)


def _request_id_of(headers: dict[bytes, bytes]) -> str:
    return request_id_of(_values(headers, _REQUEST_ID), _values(headers, _TRACEPARENT))


def _secrets_of(headers: dict[bytes, bytes]) -> list[str]:
    return with_bearers(_values(headers, _API_KEY), _values(headers, _AUTHORIZATION))


def _values(headers: dict[bytes, bytes], name: bytes) -> list[str]:
    return [headers[name].decode()] if name in headers else []


def _is_made_of(text: bytes, allowed: bytes) -> bool:
    return bool(text) and not text.translate(None, allowed)
