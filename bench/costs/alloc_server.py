"""Our server, unchanged, in a process that counts allocations when told to on standard input.

`count` answers with a line of JSON (`AllocationCounts`); `trace` switches tracemalloc on.
"""

import asyncio
import gc
import os
import socket
import sys
import tracemalloc

import click
import msgspec
import uvloop

from bench.costs.alloc import AllocationCounts
from ingest import config
from ingest.app.database import make_postgres
from ingest.app.server import App
from ingest.observe import logs


class AllocationCounter:
    """Answers commands between requests, on the server's own loop."""

    def __init__(self) -> None:
        self._own_collections = [0] * len(gc.get_stats())
        self._rest = b""

    def listen(self) -> None:
        """Begin to take commands."""
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read)

    def _read(self) -> None:
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        *commands, self._rest = (self._rest + data).split(b"\n")
        for command in commands:
            if command == b"trace":
                tracemalloc.start()
            click.echo(msgspec.json.encode(self._count()))

    def _count(self) -> AllocationCounts:
        collections = [
            each["collections"] - own
            for each, own in zip(gc.get_stats(), self._own_collections, strict=True)
        ]
        blocks = sys.getallocatedblocks()
        gc.collect()
        self._own_collections[-1] += 1
        traced_bytes, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        return AllocationCounts(
            blocks, sys.getallocatedblocks(), collections, traced_bytes, peak_bytes
        )


async def serve(database_url: str, listener: socket.socket) -> None:
    """Serve as `nonito serve` does, with this process's settings."""
    settings = config.from_process(None, {"database.url": database_url})
    logs.configure("warning", "text")
    server = App(settings, make_postgres(settings, database_url))

    async def greet() -> None:
        AllocationCounter().listen()
        click.echo(f"Listening on http://127.0.0.1:{listener.getsockname()[1]}")

    await server.open()
    await server.run([listener], None, greet)


@click.command()
@click.argument("database_url")
def main(database_url: str) -> None:
    """Serve on a free port until killed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        uvloop.run(serve(database_url, listener))


if __name__ == "__main__":
    main()
