"""A small HTTP server whose answers a test chooses, for what a good server never does."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from bench.servers import Endpoint

Answer = Callable[[int, asyncio.StreamWriter], Awaitable[None]]
"""Answers the request of a number, counted from 0 over all connections."""


def ok(body: bytes) -> bytes:
    """Return a 200."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@contextmanager
def answering(answer: Answer) -> Iterator[Endpoint]:
    """Serve in a thread of its own."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(_listen(answer))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _listen(answer: Answer) -> asyncio.Server:
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                await reader.readexactly(int(length))
                number, served = served, served + 1
                await answer(number, writer)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def _stop(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
