"""What a case of the corpus is, and how requests are put together byte by byte."""

from dataclasses import dataclass, field

KEY = b"nk_" + b"K" * 43
"""Stands for the server's key, and is as long as one, so that replacing it changes no length."""

EVENT = b'{"event_name":"a","event_params":{"b":1}}'
CRLF = b"\r\n"
POST = b"POST /event HTTP/1.1"
JSON = b"Content-Type: application/json"
AUTH = b"X-API-Key: " + KEY
BEARER = b"Authorization: Bearer " + KEY
HOST = b"Host: test"


@dataclass(frozen=True)
class Case:
    """One request on a connection of its own, and the answer that it must have."""

    name: str
    request: bytes = field(repr=False)
    status: int
    code: str | None = None
    """The error's code; None for a success."""
    closes: bool = False
    """Whether the server closes the connection behind its answer; what it reads then is not HTTP
    that it understands."""

    def with_key(self, key: str) -> bytes:
        """Return the request with a real key."""
        return self.request.replace(KEY, key.encode())


def join(*lines: bytes, body: bytes = b"") -> bytes:
    """Return a request of these lines, verbatim."""
    return CRLF.join((*lines, b"", body))


def post(
    *headers: bytes, body: bytes = EVENT, line: bytes = POST, length: bytes | None = None
) -> bytes:
    """Return an event's request with more headers, or another line, or another length."""
    size = b"Content-Length: %d" % len(body) if length is None else length
    return join(line, HOST, AUTH, JSON, size, *headers, body=body)


def chunked(*chunks: bytes, headers: tuple[bytes, ...] = (), end: bytes = b"0\r\n\r\n") -> bytes:
    """Return an event's request whose body comes in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end
    return join(POST, HOST, AUTH, JSON, b"Transfer-Encoding: chunked", *headers, body=body)


def raw_chunks(body: bytes, encoding: bytes = b"Transfer-Encoding: chunked") -> bytes:
    """Return an event's request with a chunked body as given, well-formed or not."""
    return join(POST, HOST, AUTH, JSON, encoding, body=body)
