"""Schema migrations: numbered SQL files, each applied once, in order, under an advisory lock."""

import asyncio
from importlib.resources import files
from typing import NamedTuple

import asyncpg
import structlog

from ingest.errors import StartupError
from ingest.store.postgres import Connection, Postgres

log = structlog.get_logger(__name__)

_LOCK = 0x6E6F_6E69_746F_0001  # "nonito", 1
_TIMEOUT_S = 600.0  # a migration may rewrite a table


class Migration(NamedTuple):
    """One numbered file of `schema/`."""

    version: int
    name: str
    sql: str


def known() -> list[Migration]:
    """Return the migrations that this version of the server carries, in order."""
    found = []
    for file in files("ingest.store").joinpath("schema").iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found)


async def migrate(postgres: Postgres) -> None:
    """Bring the database to this version's schema; servers that start at once take turns.

    All of it is one transaction: a migration that fails leaves the database as it was.
    """
    carried = await asyncio.to_thread(known)
    async with postgres.session(_TIMEOUT_S) as connection, connection.transaction():
        await require_utf8(connection)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS nonito_migrations ("
            " version int PRIMARY KEY,"
            " name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = await applied_versions(connection)
        for migration in pending(applied, carried):
            await _apply(connection, migration)


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        await connection.execute(migration.sql)
    except asyncpg.PostgresError as error:
        raise StartupError(
            f"migration {migration.version} ({migration.name}) failed, nothing was changed: {error}"
        ) from error
    await connection.execute(
        "INSERT INTO nonito_migrations (version, name) VALUES ($1, $2)",
        migration.version,
        migration.name,
    )
    log.info("migrated", version=migration.version, name=migration.name)


async def require_utf8(connection: Connection) -> None:
    """Raise StartupError for a database in which not every event could be stored."""
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StartupError(
            f"the database's encoding is {encoding}, and events need UTF8: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


async def applied_versions(connection: Connection) -> set[int]:
    """Return the versions that the database has; none when it was never migrated."""
    if await connection.fetchval("SELECT to_regclass('nonito_migrations')") is None:
        return set()
    rows = await connection.fetch("SELECT version FROM nonito_migrations")
    return {int(row["version"]) for row in rows}


def pending(applied: set[int], carried: list[Migration]) -> list[Migration]:
    """Return what is still to be applied; raise StartupError if the database is newer than this."""
    if newer := applied - {migration.version for migration in carried}:
        raise StartupError(
            f"the database has schema version {max(newer)}, this server knows "
            f"{carried[-1].version}: run a newer version of nonito"
        )
    return [migration for migration in carried if migration.version not in applied]
