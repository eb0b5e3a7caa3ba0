"""`nonito serve`: the address, the database, the server, and what it greets with."""

import asyncio
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import click
import structlog
import uvloop

from ingest import __version__
from ingest.app.database import budget_of, make_postgres
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
    with _bind(settings) as listener, made as (url, embedded):
        if not _run(_serve(settings, url, embedded, listener, read)):
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
    listener: socket.socket,
    read: Callable[[], Config],
) -> bool:
    postgres = make_postgres(settings, url)
    host, port = listener.getsockname()[:2]
    address = f"http://{_bracketed(host)}:{port}"
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
        budget = await budget_of(postgres, settings) if server.is_postgres_up else None
        log.info(
            "serving",
            address=address,
            database=place,
            workers=1,
            postgres_connections=str(budget or "unknown"),
            version=__version__,
        )
        if budget is not None and not budget.is_enough:
            log.warning("Postgres may refuse connections", reason=str(budget))
        click.echo(f"Listening on {address}\n{told}")

    try:
        await server.open()
        return await server.run(listener, greet)
    except Unavailable as failure:
        raise StartupError(f"the database failed: {failure}") from failure


@contextmanager
def _bind(settings: Config) -> Iterator[socket.socket]:
    """Bind first: a port that is taken is found out before anything else is started."""
    server = settings.server
    try:
        listener = _bound_socket(server.host, server.port)
    except OSError as error:
        raise StartupError(
            f"can't listen on {server.host}:{server.port}: {error.strerror}; "
            "set server.host and server.port"
        ) from error
    with listener:
        yield listener


def _bound_socket(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _bracketed(host: Any) -> str:  # noqa: ANN401 - what getsockname returns
    return f"[{host}]" if ":" in str(host) else str(host)
