"""As much HTTP as the load client needs: building requests, and framing answers by their length."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from bench.load.forms import SINGLE

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_HEADS_KEPT = 1_024
_HEAD_BYTES_MAX = 16_384


class AnswerError(Exception):
    """Something that the client can't frame: no HTTP, or no Content-Length."""


class Head(NamedTuple):
    """What the client needs of an answer's head."""

    status: int
    body_bytes: int


class Heads:
    """Parses heads of answers. A server repeats them, so a head seen before is only looked up."""

    def __init__(self) -> None:
        self.known: dict[bytes, Head] = {}
        """Bounded: emptied when full, since a `Date` makes each head stale within a second."""

    def parse(self, head: bytes) -> Head:
        """Return what a complete head says, up to its empty line; raise AnswerError."""
        status, length = _STATUS.match(head), _LENGTH.search(head)
        if status is None or length is None:
            raise AnswerError(f"an answer that can't be framed: {head[:200]!r}")
        if len(self.known) >= _HEADS_KEPT:
            self.known.clear()
        found = self.known[head] = Head(int(status[1]), int(length[1]))
        return found


def check_unfinished(head: bytes) -> None:
    """Raise AnswerError when a head has grown too long without an end."""
    if len(head) > _HEAD_BYTES_MAX:
        raise AnswerError("an answer's head without an end")


def request(
    host: str,
    key: str,
    body: bytes,
    path: str = SINGLE.path,
    headers: Mapping[str, str] = SINGLE.headers,
) -> bytes:
    """Return one whole POST with an API key, as HTTP libraries send it."""
    return post(host, path, {"X-API-Key": key, **headers}, body)


def post(host: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return one whole POST with these headers besides those that all have."""
    given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: nonito-bench\r\nAccept: */*\r\n"
        f"{given}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
