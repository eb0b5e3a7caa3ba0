"""The `nonito` command: serve, keys, check, psql."""

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from ingest import __version__, app, config
from ingest.config import Config
from ingest.errors import StartupError
from ingest.observe import logs
from ingest.store import checks, keys, migrations
from ingest.store.embedded import EmbeddedPostgres
from ingest.store.failures import Unavailable
from ingest.store.postgres import Connection, Postgres

T = TypeVar("T")

FIRST_APP = "default"
_FILES_SPARE = 128  # what is open besides clients' connections


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nonito")
@click.option(
    "--config", "path", type=click.Path(path_type=Path), help="Default: ./config.toml, if any."
)
@click.option("--database-url", help="Postgres to use. Default: database.url, or the embedded one.")
@click.option("--data-dir", help="Where the embedded Postgres lives. Default: database.data_dir.")
@click.pass_context
def command(
    context: click.Context, path: Path | None, database_url: str | None, data_dir: str | None
) -> None:
    """Nonito Events: an event ingestion server whose 2xx means durable, exactly once."""
    context.obj = (path, {"database.url": database_url, "database.data_dir": data_dir})


@command.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one.")
@click.pass_context
def serve(context: click.Context, host: str | None, port: int | None) -> None:
    """Take events at POST /event until SIGTERM or Ctrl-C."""
    # Until the server stops in good order itself: end, and let go of the embedded Postgres.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    settings = _load(context, {"server.host": host, "server.port": port})
    _allow_files(settings.limits.connections_max + _FILES_SPARE)
    logs.configure(settings.log.level, settings.log.format)
    with _bind(settings) as listener, _database(settings) as (url, embedded):
        if not uvloop.run(_serve(settings, url, embedded, listener)):
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
    settings: Config, url: str, embedded: EmbeddedPostgres | None, listener: socket.socket
) -> bool:
    postgres = app.make_postgres(settings, url)
    host, port = listener.getsockname()[:2]
    address = f"http://{_bracketed(host)}:{port}"
    greeting = f"Listening on {address}"
    try:
        if embedded is not None:
            # Before the server reads the keys: it is to know this one when somebody sees it.
            await app.prepare(postgres, settings)
            async with postgres.session() as connection:
                secret = await keys.create_first(connection, FIRST_APP)
            greeting += _about_key(secret, address)

        async def greet() -> None:
            click.echo(greeting)

        return await app.App(settings, postgres, embedded).run(listener, greet)
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


@command.group("keys")
def keys_group() -> None:
    """Make, list and revoke API keys; running servers follow within a second."""


@keys_group.command("create")
@click.option("--app", "app_name", required=True, help="The app it belongs to; made if new.")
@click.option("--name", default="", help="A label, to tell keys apart.")
@click.option("--expires-in-days", type=click.IntRange(1, 36_500), help="Default: never.")
@click.pass_context
def create_key(
    context: click.Context, app_name: str, name: str, expires_in_days: int | None
) -> None:
    """Make a key; the secret alone goes to standard output, once."""
    _require_text("--app", app_name)

    async def work(connection: Connection) -> str:
        return await keys.create(connection, app_name, name, expires_in_days)

    secret = _with_database(context, work)
    click.echo(f"Key for app {app_name!r}; it is shown only now.", err=True)
    click.echo(secret)


@keys_group.command("list")
@click.pass_context
def list_keys(context: click.Context) -> None:
    """List all keys, also the revoked ones."""
    found = _with_database(context, keys.list_all)
    now = datetime.now(UTC)
    table = [("PREFIX", "APP", "NAME", "STATE", "CREATED", "EXPIRES")]
    table += [
        (key.prefix, key.app, key.name, key.state(now), _day(key.created_at), _day(key.expires_at))
        for key in found
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@keys_group.command("revoke")
@click.argument("prefix")
@click.pass_context
def revoke_key(context: click.Context, prefix: str) -> None:
    """Revoke the key that starts with PREFIX, as `keys list` shows it."""

    async def work(connection: Connection) -> list[keys.Key]:
        return await keys.revoke(connection, prefix)

    _require_text("PREFIX", prefix)
    matching = _with_database(context, work)
    if len(matching) != 1:
        count = len(matching) or "no"
        raise StartupError(f"{count} unrevoked keys start with {prefix!r}; nothing was revoked")
    click.echo(f"Revoked {matching[0].prefix} of app {matching[0].app!r}.", err=True)


@command.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Say whether the configuration and the database are fit to serve."""
    settings = _load(context)
    logs.configure("error", settings.log.format)
    click.echo("ok    configuration")

    async def work(connection: Connection) -> list[checks.Finding]:
        return await checks.examine(connection)

    findings = _in_session(settings, work, migrate=False)
    for finding in findings:
        click.echo(f"{'ok   ' if finding.is_good else 'WRONG'} {finding.text}")
    if not all(finding.is_good for finding in findings):
        sys.exit(1)


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def psql(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run psql on the database, for example: nonito psql -c 'SELECT * FROM events'."""
    settings = _load(context)
    logs.configure("error", settings.log.format)
    import subprocess  # noqa: PLC0415 - for this command only

    with _database(settings) as (url, embedded):
        program = embedded.psql if embedded is not None else "psql"
        try:
            ended = subprocess.run([program, url, *arguments], check=False)  # noqa: S603
        except FileNotFoundError:
            raise StartupError("psql is not installed (Debian: postgresql-client)") from None
    sys.exit(ended.returncode)


def main() -> None:
    """Run the command; what can't be done is one line on standard error and exit code 1."""
    try:
        command(prog_name="nonito")
    except StartupError as error:
        click.echo(f"nonito: {' '.join(str(error).splitlines())}", err=True)
        sys.exit(1)


def _load(context: click.Context, flags: dict[str, object] | None = None) -> Config:
    path, shared = context.find_root().obj
    given = {key: value for key, value in {**shared, **(flags or {})}.items() if value is not None}
    return config.load(path, os.environ, given)


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


@contextmanager
def _database(settings: Config) -> Iterator[tuple[str, EmbeddedPostgres | None]]:
    """Yield the database's URL, and the embedded Postgres if that is what it is."""
    if settings.database.url:
        yield settings.database.url, None
        return
    embedded = EmbeddedPostgres(Path(settings.database.data_dir))
    embedded.start()
    try:
        yield embedded.url, embedded
    finally:
        embedded.stop()


def _with_database(context: click.Context, work: Callable[[Connection], Awaitable[T]]) -> T:
    settings = _load(context)
    logs.configure("error", settings.log.format)
    return _in_session(settings, work, migrate=True)


def _in_session(
    settings: Config, work: Callable[[Connection], Awaitable[T]], *, migrate: bool
) -> T:
    with _database(settings) as (url, _):
        return asyncio.run(_work(app.make_postgres(settings, url), work, migrate=migrate))


async def _work(
    postgres: Postgres, work: Callable[[Connection], Awaitable[T]], *, migrate: bool
) -> T:
    try:
        if migrate:
            await migrations.migrate(postgres)
        async with postgres.session() as connection:
            return await work(connection)
    except Unavailable as failure:
        raise StartupError(f"the database failed: {failure.__cause__ or failure}") from failure


def _require_text(option: str, value: str) -> None:
    if not value.strip() or "\0" in value:
        raise StartupError(f"{option} must not be empty")


def _bracketed(host: Any) -> str:  # noqa: ANN401 - what getsockname returns
    return f"[{host}]" if ":" in str(host) else str(host)


def _day(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d") if moment else "-"
