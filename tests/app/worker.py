"""One of several processes of one server: `python -m tests.app.worker URL FILE SPOOL`.

FILE is what they share; it begins with the generation of the API keys.
"""

import asyncio
import mmap
import os
import socket
import sys

import click
import uvloop

from ingest.app.database import make_postgres
from ingest.app.server import App
from ingest.config import Config, Spool, Writer
from ingest.observe import logs

PAGE_BYTES = 4096


class SharedGeneration:
    """The generation in the first bytes of a file."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, PAGE_BYTES)

    def read(self) -> int:
        """Return it."""
        return int.from_bytes(self._map[:8], "little")

    def advance(self) -> None:
        """Make it the next one."""
        self._map[:8] = (self.read() + 1).to_bytes(8, "little")


async def main(url: str, file: str, spool: str) -> None:
    """Serve until told to stop."""
    logs.configure("info", "text")
    descriptor = os.open(file, os.O_RDWR)
    config = Config(spool=Spool(path=spool, free_bytes_min=0), writer=Writer(commit_timeout_s=1.0))
    postgres = make_postgres(config, url, descriptor)
    app = App(config, postgres, None, keys_generation=SharedGeneration(descriptor))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        async def greet() -> None:
            await asyncio.sleep(0)
            click.echo(f"Listening on http://127.0.0.1:{port}")

        await app.open()
        await app.run(listener, greet)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
