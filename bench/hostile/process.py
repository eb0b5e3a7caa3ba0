"""The process that runs all peers of a kind.

While the time lasts, each peer begins anew when its life ends, also when the server ends it.
"""

import asyncio
import os
import resource
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

import uvloop

from bench.hostile.kinds import KINDS, half_close
from bench.hostile.peer import Deeds, Peer

_RECONNECT_S = 0.1
_DRAIN_S = 5.0
_CONNECT_S_MAX = 20.0
_NICENESS = 10
_FILES = 8_192


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
    """Run all peers; half-closers may wait for their answers a little longer."""
    deeds, end_s = Deeds(), time.monotonic() + order.seconds
    kind = KINDS[order.kind]
    tasks = [asyncio.create_task(_repeat(order, deeds, end_s)) for _ in range(kind.peers)]
    if kind.live is half_close:
        await asyncio.wait(tasks, timeout=order.seconds + _DRAIN_S)
    else:
        await _until_connected(kind.peers, deeds)
        await asyncio.sleep(order.seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return deeds


async def _until_connected(peers: int, deeds: Deeds) -> None:
    """Wait for the first of them: thousands that begin at once take a while on a busy core."""
    end_s = time.monotonic() + _CONNECT_S_MAX
    while peers and not deeds.connections and time.monotonic() < end_s:  # noqa: ASYNC110 - a count
        await asyncio.sleep(_RECONNECT_S)


async def _repeat(order: Order, deeds: Deeds, end_s: float) -> None:
    while not deeds.connections or time.monotonic() < end_s:
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
