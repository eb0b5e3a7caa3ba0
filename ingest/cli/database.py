"""The configured database, opened for one command."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from ingest.app.database import make_postgres
from ingest.cli.database_url import database
from ingest.cli.settings import load_quietly
from ingest.config import Config
from ingest.errors import StartupError
from ingest.store import migrations
from ingest.store.failures import Unavailable
from ingest.store.postgres import Connection, Postgres

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]


def with_database(context: click.Context, work: Work[T]) -> T:
    """Do a piece of work in the migrated database; raise StartupError for one that fails."""
    return in_session(load_quietly(context), work, migrate=True)


def in_session(settings: Config, work: Work[T], *, migrate: bool) -> T:
    """Do a piece of work on a connection of its own; raise StartupError."""
    with database(settings) as (url, _):
        return in_session_at(settings, url, work, migrate=migrate)


def in_session_at(settings: Config, url: str, work: Work[T], *, migrate: bool) -> T:
    """Return what work does in a session with the database at `url`, migrated first if wanted."""
    return asyncio.run(_work(make_postgres(settings, url), work, migrate=migrate))


async def _work(postgres: Postgres, work: Work[T], *, migrate: bool) -> T:
    try:
        if migrate:
            await migrations.migrate(postgres)
        async with postgres.session() as connection:
            return await work(connection)
    except Unavailable as failure:
        raise StartupError(f"the database failed: {failure}") from failure
