"""Batches that cost a server the most: a gzip bomb, and one as large as the limits let it be."""

import gzip
import re
import zlib
from functools import cache
from typing import Final

from ingest.config import Limits

_BOMB_BYTES: Final = 1 << 30
_BLOCK_BYTES: Final = 1 << 20
_GZIP_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LIMITS: Final = Limits()
_EVENT: Final = b'{"event_name": "page_view", "event_params": {"text": "%b"}}'
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"Content-Length: [0-9]+")


@cache
def bomb(request: bytes) -> bytes:
    """Return a batch of 1 GiB of zeros in 1 MB; `request` is a whole `POST /event`."""
    return _batch(request, _zeros(), b"Content-Encoding: gzip\r\n")


@cache
def largest(request: bytes) -> bytes:
    """Return a good batch of as many events and bytes as the server takes."""
    return _of_size(request, _LIMITS.batch_events_max, _LIMITS.batch_bytes_max)


@cache
def quarter(request: bytes) -> bytes:
    """Return a good batch a quarter as large, so that some of them fit in the budget."""
    return _of_size(request, _LIMITS.batch_events_max // 4, _LIMITS.batch_bytes_max // 4)


def _of_size(request: bytes, events: int, bytes_max: int) -> bytes:
    event_bytes = (bytes_max - len(b"[]")) // events - len(b",")
    text = b"x" * (event_bytes - len(_EVENT % b""))
    return _batch(request, b"[%b]" % b",".join([_EVENT % text] * events))


@cache
def thousand(request: bytes) -> bytes:
    """Return a batch of a thousand of the request's event, to be answered with their number."""
    return _thousand(request, b"return=minimal")


@cache
def thousand_async(request: bytes) -> bytes:
    """Return the same, to be answered before it is stored: a sender that waits for nobody."""
    return _thousand(request, b"return=minimal, respond-async")


def _thousand(request: bytes, prefer: bytes) -> bytes:
    event = request.partition(_END_OF_HEAD)[2]
    document = b"[%b]" % b",".join([event] * 1_000)
    return _batch(request, document, b"Prefer: %b\r\n" % prefer)


@cache
def inflating(request: bytes) -> bytes:
    """Return `largest` in gzip: 34 KB whose answer is as long as 16 MiB of events."""
    body = largest(request).partition(_END_OF_HEAD)[2]
    return _batch(request, gzip.compress(body), b"Content-Encoding: gzip\r\n")


def _batch(request: bytes, body: bytes, header: bytes = b"") -> bytes:
    head, _, _ = request.partition(_END_OF_HEAD)
    head = head.replace(b"POST /event ", b"POST /events ", 1)
    return _LENGTH.sub(b"%bContent-Length: %d" % (header, len(body)), head) + _END_OF_HEAD + body


def _zeros() -> bytes:
    """Return the gzip; without the sum at its end, which would take seconds and is never read."""
    squeezer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = squeezer.compress(bytes(_BLOCK_BYTES)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    blocks = _BOMB_BYTES // _BLOCK_BYTES  # alike, as each begins anew
    return _GZIP_HEAD + block * blocks + squeezer.flush() + bytes(8)
