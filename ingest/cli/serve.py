"""`nonito serve`: the address, the database, the server, and what it greets with."""

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import click
import structlog
import uvloop

from ingest import __version__
from ingest.app.database import make_postgres
from ingest.app.server import App
from ingest.cli import first_key
from ingest.cli.database import database
from ingest.cli.process import return_large_blocks
from ingest.cli.settings import load
from ingest.config import Config
from ingest.errors import StartupError
from ingest.observe import logs
from ingest.store.embedded import EmbeddedPostgres
from ingest.store.failures import Unavailable
from ingest.supervisor.sockets import Sockets, bind

log = structlog.get_logger(__name__)

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_FILES_SPARE = 128  # what is open besides clients' connections


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one.")
@click.pass_context
def serve(context: click.Context, host: str | None, port: int | None) -> None:
    """Take events at POST /event until SIGTERM or Ctrl-C."""
    for number in _STOPPING:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    read = partial(load, context, {"server.host": host, "server.port": port})
    settings = read()
    _allow_files(settings.limits.connections_max + _FILES_SPARE)
    return_large_blocks()
    logs.configure(settings.log.level, settings.log.format)
    made = database(settings, EmbeddedPostgres.start)
    with bind(settings, 1) as sockets, made as (url, embedded):
        if not _run(_serve(settings, url, embedded, sockets, read)):
            raise StartupError("a part of the server failed; the log says which")


def _run(serving: Coroutine[Any, Any, bool]) -> bool:
    """Run it; a signal that comes before the server heeds it itself cancels it."""
    came: list[int] = []

    async def work() -> bool:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def cancel(number: int) -> None:
            came.append(number)
            if task is not None:
                task.cancel()

        for number in _STOPPING:
            loop.add_signal_handler(number, cancel, number)
        return await serving

    try:
        return uvloop.run(work())
    except asyncio.CancelledError:
        sys.exit(128 + came[0] if came else 1)


def _allow_files(count: int) -> None:
    """Raise the limit of open files as far as it may be, and `count` needs it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < count:
        click.echo(
            f"nonito: only {hard} files may be open (ulimit -n), "
            f"limits.connections_max needs {count}",
            err=True,
        )


async def _serve(
    settings: Config,
    url: str,
    embedded: EmbeddedPostgres | None,
    sockets: Sockets,
    read: Callable[[], Config],
) -> bool:
    postgres = make_postgres(settings, url)
    address = sockets.addresses[0]
    bound = [socket.socket(fileno=os.dup(each)) for each in sockets.of(0)]
    monitor = socket.socket(fileno=os.dup(sockets.monitor)) if sockets.monitor else None
    sockets.release()
    # A terminal that is closed sends SIGHUP too, and means the end.
    reread = None if sys.stdin.isatty() else read
    server = App(settings, postgres, embedded, reread)
    # Nobody asked for an app in a database of their own, and a log is no place for a key.
    may_show = embedded is not None and sys.stdout.isatty()

    async def greet() -> None:
        file, secret = settings.keys.first_key_file, None
        if not server.keys and (may_show or file):
            secret = await first_key.make(postgres, file)
            with suppress(Unavailable):  # it will follow the database in any case
                await server.read_keys()
        told = first_key.tell(secret, file, address) if server.keys else first_key.NONE
        place = embedded.address if embedded is not None else postgres.address
        log.info("serving", address=address, database=place, workers=1, version=__version__)
        click.echo("\n".join(f"Listening on {each}" for each in sockets.addresses) + f"\n{told}")

    try:
        await server.open()
        return await server.run(bound, monitor, greet, are_lent=sockets.are_lent)
    except Unavailable as failure:
        raise StartupError(f"the database failed: {failure}") from failure
