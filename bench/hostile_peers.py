"""Peers that misbehave: what each kind does with a connection, and the process that runs many.

A kind is one coroutine, the life of one connection. While the time lasts, each peer begins anew
when its life ends, also when the server ends it.
"""

import asyncio
import os
import re
import resource
import secrets
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple

import uvloop

from bench import hostile_batches
from bench.http import Heads

_DRIP_S = 1.0
_PATIENCE_S = 0.2
_PAUSE_S = 0.01
_RECONNECT_S = 0.1
_DRAIN_S = 5.0
_READ_BYTES = 65_536
_PIPELINED = 200
_GARBAGE_BYTES = 2_048
_BIG_HEAD_BYTES = 1 << 20
_LARGE_BODY_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 16
_NICENESS = 10
_FILES = 8_192
_OK = 200
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"Content-Length: [0-9]+")


@dataclass
class Deeds:
    """What the peers of one process did, and what they were told."""

    connections: int = 0
    failed_connects: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    """The first answer that each connection read, where it read any; all, of those that `ask`."""
    half_closed: int = 0
    """Whole requests behind which a peer closed its sending side."""
    half_closed_answered: int = 0
    """How many of them got a 200."""


class Peer:
    """One connection of a hostile peer."""

    def __init__(self, sock: socket.socket, request: bytes, deeds: Deeds) -> None:
        self.request = request
        """One whole `POST /event` as a good client would send it."""
        self.deeds = deeds
        self._socket = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        """Send all; raise OSError when the server has closed."""
        await self._loop.sock_sendall(self._socket, data)

    async def drip(self, data: bytes) -> None:
        """Send a byte a second until the server closes."""
        for byte in data:
            await self.send(bytes((byte,)))
            if not await self.lingers(_DRIP_S):
                return

    async def until_closed(self) -> int:
        """Read until the server closes; return the first answer's status, 0 for none."""
        status = 0
        while data := await self._loop.sock_recv(self._socket, _READ_BYTES):
            if not status and (found := _STATUS.match(data)):
                status = int(found[1])
                self.deeds.statuses[status] += 1
        return status

    async def ask(self, request: bytes) -> None:
        """Send a whole request and read all of its answer; raise OSError if none comes."""
        await self.send(request)
        answer = b""
        while _END_OF_HEAD not in answer:
            answer += await self._receive()
        head_bytes = answer.index(_END_OF_HEAD) + len(_END_OF_HEAD)
        head = Heads().parse(answer[:head_bytes])
        missing_bytes = head_bytes + head.body_bytes - len(answer)
        while missing_bytes > 0:
            missing_bytes -= len(await self._receive())
        self.deeds.statuses[head.status] += 1

    async def lingers(self, seconds: float) -> bool:
        """Wait for so long at most; return whether the server left the connection open."""
        try:
            async with asyncio.timeout(seconds):
                await self.until_closed()
        except TimeoutError:
            return True
        return False

    async def _receive(self) -> bytes:
        data = await self._loop.sock_recv(self._socket, _READ_BYTES)
        if not data:
            raise ConnectionResetError("the server closed")
        return data

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset_on_close(self) -> None:
        """Let the end of this connection be an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


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


async def _half_close(peer: Peer) -> None:
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
    "half-closers": Kind(20, _half_close),
    "garbage": Kind(20, _send_garbage),
    "big-heads": Kind(20, _send_big_head),
    "large-bodies": Kind(20, _send_large_body),
    "gzip-bombs": Kind(3, _keep_asking(hostile_batches.bomb)),
    "large-batches": Kind(1, _keep_asking(hostile_batches.largest)),
}


@dataclass(frozen=True)
class Order:
    """What a process is to do."""

    kind: str
    host: str
    port: int
    request: bytes
    seconds: float
    cores: frozenset[int]


def misbehave(order: Order, pipe: Pipe) -> None:
    """Say that it is ready, wait for the word, misbehave, and send the Deeds; for a process."""
    raise_file_limit()
    os.sched_setaffinity(0, order.cores)
    os.nice(_NICENESS)  # on a core that it shares with the bystander
    pipe.send(None)
    pipe.recv()
    pipe.send(uvloop.run(_run(order)))


def raise_file_limit() -> None:
    """Let this process, and what it starts, have enough open files, as far as the limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run(order: Order) -> Deeds:
    """Run all peers; half-closers that wait for an answer at the end may do so a little longer."""
    deeds, end_s = Deeds(), time.monotonic() + order.seconds
    kind = KINDS[order.kind]
    tasks = [asyncio.create_task(_repeat(order, deeds, end_s)) for _ in range(kind.peers)]
    if kind.live is _half_close:
        await asyncio.wait(tasks, timeout=order.seconds + _DRAIN_S)
    else:
        await asyncio.sleep(order.seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return deeds


async def _repeat(order: Order, deeds: Deeds, end_s: float) -> None:
    while time.monotonic() < end_s:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(sock, (order.host, order.port))
            except OSError:
                deeds.failed_connects += 1
                await asyncio.sleep(_RECONNECT_S)
                continue
            deeds.connections += 1
            with suppress(OSError):  # the server has had enough of it
                await KINDS[order.kind].live(Peer(sock, order.request, deeds))
