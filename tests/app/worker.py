"""One of several processes of one server: `python -m tests.app.worker URL SEGMENT SLOT SPOOL`."""

import asyncio
import socket
import sys

import click
import uvloop

from ingest.app.database import make_postgres
from ingest.app.server import App
from ingest.config import Config, Spool, Writer
from ingest.observe import logs
from ingest.share.member import Member
from ingest.share.segment import Segment


async def main(url: str, descriptor: str, slot: str, spool: str) -> None:
    """Serve until told to stop."""
    logs.configure("info", "text")
    segment = Segment.attach(int(descriptor))
    config = Config(spool=Spool(path=spool, free_bytes_min=0), writer=Writer(commit_timeout_s=1.0))
    postgres = make_postgres(config, url, segment.descriptor)
    app = App(config, postgres, Member(segment, int(slot)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        async def greet() -> None:
            await asyncio.sleep(0)
            click.echo(f"Listening on http://127.0.0.1:{port}")

        await app.open()
        await app.run([listener], None, greet)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
