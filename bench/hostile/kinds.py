"""The kinds of peers that misbehave: how many there are of each, and what each does.

A kind is one coroutine, the life of one connection.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from functools import cache
from typing import NamedTuple

from bench.hostile import batches
from bench.hostile.peer import Peer

_PATIENCE_S = 0.2
_PAUSE_S = 0.01
_SPREAD_MS = 5_000
_PIPELINED = 200
_GARBAGE_BYTES = 2_048
_BIG_HEAD_BYTES = 1 << 20
_LARGE_BODY_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 16
_LONG_HEADERS = (
    b"POST /event HTTP/1.1\r\nHost: test\r\n",
    *(b"X-%d: %b\r\n" % (number, b"a" * 8_000) for number in range(62)),
)
"""A head without an end, of no key; each header is as long as one may be."""
_OK = 200
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"Content-Length: [0-9]+")


async def _drip_head(peer: Peer) -> None:
    await peer.drip(peer.request)


async def _drip_body(peer: Peer) -> None:
    head, end, body = peer.request.partition(_END_OF_HEAD)
    await peer.send(head + end)
    await peer.drip(body)


async def _stay_silent(peer: Peer) -> None:
    await peer.until_closed()


async def _send_half(peer: Peer) -> None:
    await peer.send(peer.request[: len(peer.request) // 2])
    await peer.until_closed()


async def _never_read(peer: Peer) -> None:
    while True:
        await peer.send(peer.request * _PIPELINED)


async def _reset(peer: Peer) -> None:
    peer.reset_on_close()
    await peer.send(peer.request)


async def half_close(peer: Peer) -> None:
    """Send a request, close the sending side, and wait for the answer."""
    await peer.send(peer.request)
    peer.half_close()
    peer.deeds.half_closed += 1
    status = await peer.until_closed()
    peer.deeds.half_closed_answered += status == _OK
    await asyncio.sleep(_PAUSE_S)  # or the kernel runs out of ports


async def _send_garbage(peer: Peer) -> None:
    line, _, _ = peer.request.partition(b"\r\n")
    peer.reset_on_close()
    await peer.send(secrets.choice((b"", line + b"\r\n")) + secrets.token_bytes(_GARBAGE_BYTES))
    await peer.lingers(_PATIENCE_S)


async def _send_big_head(peer: Peer) -> None:
    peer.reset_on_close()
    await peer.send(secrets.choice(_big_heads(peer.request)))
    await peer.lingers(_PATIENCE_S)


async def _send_large_body(peer: Peer) -> None:
    peer.reset_on_close()
    head, piece = secrets.choice(_large_bodies(peer.request))
    await peer.send(head)
    for _ in range(_LARGE_BODY_BYTES // _CHUNK_BYTES):
        await peer.send(piece)
    await peer.lingers(_PATIENCE_S)


async def _send_endless_head(peer: Peer) -> None:
    await _spread()
    for header in _LONG_HEADERS:
        await peer.send(header)
        await asyncio.sleep(0)
    await peer.until_closed()


async def _never_read_batch(peer: Peer) -> None:
    await _spread()
    await peer.send(batches.inflating(peer.request))
    await peer.stays_unread()


async def _read_slowly(peer: Peer) -> None:
    peer.narrow()
    await peer.send(batches.quarter(peer.request))
    await peer.sip()


async def _spread() -> None:
    """Do not begin with all others, or connecting is what is measured."""
    await asyncio.sleep(secrets.randbelow(_SPREAD_MS) / 1000)


def _itself(request: bytes) -> bytes:
    return request


def _keep_asking(make: Callable[[bytes], bytes]) -> Callable[[Peer], Awaitable[None]]:
    async def live(peer: Peer) -> None:
        while True:
            await peer.ask(make(peer.request))

    return live


@cache
def _big_heads(request: bytes) -> tuple[bytes, ...]:
    """Return a head with one endless header, and one with headers without end."""
    head, _, _ = request.partition(_END_OF_HEAD)
    return (
        head + b"\r\nX-Long: " + b"a" * _BIG_HEAD_BYTES,
        head + b"".join(b"\r\nX-%d: a" % n for n in range(_BIG_HEAD_BYTES // 10)),
    )


@cache
def _large_bodies(request: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the head of a body past the limit, and a piece of it: chunked, and with a length."""
    head, end, _ = request.partition(_END_OF_HEAD)
    declared = b"Content-Length: %d" % _LARGE_BODY_BYTES
    chunk = b"%x\r\n%b\r\n" % (_CHUNK_BYTES, b" " * _CHUNK_BYTES)
    return (
        (_LENGTH.sub(b"Transfer-Encoding: chunked", head) + end, chunk),
        (_LENGTH.sub(declared, head) + end, b" " * _CHUNK_BYTES),
    )


class Kind(NamedTuple):
    """How many peers there are of a kind, and what each does with a connection."""

    peers: int
    live: Callable[[Peer], Awaitable[None]]


KINDS = {
    "nobody": Kind(0, _stay_silent),  # what the others are compared with
    "slow-heads": Kind(200, _drip_head),
    "slow-bodies": Kind(200, _drip_body),
    "idle": Kind(1_000, _stay_silent),
    "half-open": Kind(1_000, _send_half),
    "never-reading": Kind(20, _never_read),
    "resetters": Kind(20, _reset),
    "half-closers": Kind(20, half_close),
    "garbage": Kind(20, _send_garbage),
    "big-heads": Kind(20, _send_big_head),
    "large-bodies": Kind(20, _send_large_body),
    "endless-heads": Kind(2_000, _send_endless_head),
    "unread-batches": Kind(500, _never_read_batch),
    "slow-readers": Kind(3, _read_slowly),
    "gzip-bombs": Kind(3, _keep_asking(batches.bomb)),
    "large-batches": Kind(1, _keep_asking(batches.largest)),
    # One app that sends as fast as it is answered, many times what there is room for.
    "floods": Kind(256, _keep_asking(_itself)),
    "batch-floods": Kind(64, _keep_asking(batches.thousand)),
    "async-floods": Kind(64, _keep_asking(batches.thousand_async)),
}
