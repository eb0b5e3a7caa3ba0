"""The configured database, opened for one command; the embedded one runs for as long."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from ingest.app.database import make_postgres
from ingest.cli.settings import load_quietly
from ingest.config import Config
from ingest.errors import StartupError
from ingest.store import migrations
from ingest.store.embedded import EmbeddedPostgres
from ingest.store.failures import Unavailable
from ingest.store.postgres import Connection, Postgres

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]


@contextmanager
def database(
    settings: Config, begin: Callable[[EmbeddedPostgres], None] = EmbeddedPostgres.join
) -> Iterator[tuple[str, EmbeddedPostgres | None]]:
    """Yield the database's URL, and the embedded Postgres if that is what it is; `begin` starts it.

    It has to be there: what makes one is `nonito serve`.
    """
    if settings.database.url:
        yield settings.database.url, None
        return
    embedded = EmbeddedPostgres(Path(settings.database.data_dir))
    begin(embedded)
    try:
        yield embedded.url, embedded
    finally:
        embedded.stop()


def with_database(context: click.Context, work: Work[T]) -> T:
    """Do a piece of work in the migrated database; raise StartupError for one that fails."""
    return in_session(load_quietly(context), work, migrate=True)


def in_session(settings: Config, work: Work[T], *, migrate: bool) -> T:
    """Do a piece of work on a connection of its own; raise StartupError."""
    with database(settings) as (url, _):
        return asyncio.run(_work(make_postgres(settings, url), work, migrate=migrate))


async def _work(postgres: Postgres, work: Work[T], *, migrate: bool) -> T:
    try:
        if migrate:
            await migrations.migrate(postgres)
        async with postgres.session() as connection:
            return await work(connection)
    except Unavailable as failure:
        raise StartupError(f"the database failed: {failure}") from failure
