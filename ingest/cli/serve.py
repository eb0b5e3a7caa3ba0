"""`nonito serve`: the address, the database, the server, and what it greets with."""

import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import click
import uvloop

from ingest import app
from ingest.cli.database import database
from ingest.cli.process import return_large_blocks
from ingest.cli.settings import load
from ingest.config import Config
from ingest.errors import StartupError
from ingest.observe import logs
from ingest.store import api_keys
from ingest.store.embedded import EmbeddedPostgres
from ingest.store.failures import Unavailable

FIRST_APP = "default"
_FILES_SPARE = 128  # what is open besides clients' connections


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one.")
@click.pass_context
def serve(context: click.Context, host: str | None, port: int | None) -> None:
    """Take events at POST /event until SIGTERM or Ctrl-C."""
    # Until the server stops in good order itself: end, and let go of the embedded Postgres.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    read = partial(load, context, {"server.host": host, "server.port": port})
    settings = read()
    _allow_files(settings.limits.connections_max + _FILES_SPARE)
    return_large_blocks()
    logs.configure(settings.log.level, settings.log.format)
    with _bind(settings) as listener, database(settings) as (url, embedded):
        if not uvloop.run(_serve(settings, url, embedded, listener, read)):
            raise StartupError("a part of the server failed; the log says which")


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
    postgres = app.make_postgres(settings, url)
    host, port = listener.getsockname()[:2]
    address = f"http://{_bracketed(host)}:{port}"
    greeting = f"Listening on {address}"
    # A terminal that is closed sends SIGHUP too, and means the end.
    reread = None if sys.stdin.isatty() else read
    server = app.App(settings, postgres, embedded, reread)
    try:
        await server.open()
        if embedded is not None:
            # Before the server reads the keys: it is to know this one when somebody sees it.
            await app.prepare(postgres, settings)
            async with postgres.session() as connection:
                secret = await api_keys.create_first(connection, FIRST_APP)
            greeting += _about_key(secret, address)

        async def greet() -> None:
            click.echo(greeting)

        return await server.run(listener, greet)
    except Unavailable as failure:
        raise StartupError(f"the database failed: {failure.__cause__ or failure}") from failure


def _about_key(secret: str | None, address: str) -> str:
    if secret is None:
        return f"\nAnother API key: nonito keys create --app {FIRST_APP}"
    return (
        f"\nMade the app {FIRST_APP!r} and its API key, which is shown only now: {secret}\n"
        "Your first event:\n\n"
        f"curl -X POST {address}/event -H 'Content-Type: application/json' "
        f"-H 'X-API-Key: {secret}' "
        """-d '{"event_name": "page_view", "event_params": {"page": "/home"}}'\n"""
    )


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
