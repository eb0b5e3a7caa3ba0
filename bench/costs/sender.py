"""Sends each of some requests once, over a few connections, and counts the answers by status.

The load client goes on for a time with requests that it repeats; what is sent here has ids, and
would be a duplicate the second time.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Final

import uvloop

from bench import machine
from bench.errors import BenchError
from bench.load.http import AnswerError, Heads
from bench.servers import Endpoint

_TIMEOUT_S: Final = 30.0
"""For a connection, and for an answer."""
_ANSWER_BYTES_MAX: Final = 1 << 20


def send(
    endpoint: Endpoint, requests: list[bytes], connections: int, cores: frozenset[int]
) -> Counter[int]:
    """Send them from these cores; each connection waits for an answer before its next request."""
    sending = _Sending(endpoint, iter(requests))
    with (
        machine.pinned(cores),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            runner.run(sending.run(connections))
        except (OSError, EOFError, TimeoutError, AnswerError) as error:
            raise BenchError(f"a request without an answer: {error or type(error)}") from error
    return sending.statuses


class _Sending:
    """What all connections send, and what was answered."""

    def __init__(self, endpoint: Endpoint, requests: Iterator[bytes]) -> None:
        self._endpoint = endpoint
        self._requests = requests
        self._heads = Heads()
        self.statuses = Counter[int]()

    async def run(self, connections: int) -> None:
        """Send everything."""
        async with asyncio.timeout(_TIMEOUT_S):
            opened = [await self._open() for _ in range(connections)]
        try:
            await asyncio.gather(*(self._send(*each) for each in opened))
        finally:
            for _, writer in opened:
                writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            self._endpoint.host, self._endpoint.port, limit=_ANSWER_BYTES_MAX
        )

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for request in self._requests:
            writer.write(request)
            async with asyncio.timeout(_TIMEOUT_S):
                head = self._heads.parse(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(head.body_bytes)
            self.statuses[head.status] += 1
