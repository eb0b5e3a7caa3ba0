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
_JOURNAL = (
    "CREATE TABLE IF NOT EXISTS nonito_migrations ("
    " version int PRIMARY KEY,"
    " name text NOT NULL,"
    " applied_at timestamptz NOT NULL DEFAULT now())"
)
# Not by to_regclass: that may not see what another server made while this one waited for its turn.
_IS_THERE = (
    "SELECT EXISTS (SELECT FROM pg_class"
    " WHERE relname = 'nonito_migrations' AND pg_table_is_visible(oid))"
)


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

    All of it is one transaction: a migration that fails leaves the database as it was. A role that
    may not CREATE can do it where nothing is due. Raises Unavailable or StartupError.
    """
    async with postgres.session(_TIMEOUT_S) as connection:
        await require_utf8(connection)
        if not await due(connection):
            return
        async with connection.transaction():
            applied = await apply_due(connection)
    for migration in applied:
        log.info("migrated", version=migration.version, name=migration.name)


async def due(connection: Connection) -> list[Migration]:
    """Return what is still to be applied; raise StartupError if the database is newer than this."""
    return pending(await applied_versions(connection), await asyncio.to_thread(known))


async def apply_due(connection: Connection) -> list[Migration]:
    """Apply what is due, within a transaction, and return it; raise StartupError."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    migrations = await due(connection)  # nothing, if somebody else was faster
    try:
        if migrations and migrations[0].version == 1:
            await connection.execute(_JOURNAL)
        for migration in migrations:
            await _apply(connection, migration)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StartupError(
            f"{len(migrations)} migrations are due, and this role may not apply them ({error}):"
            " run `nonito migrate` as the role that owns the tables, or GRANT it CREATE"
        ) from error
    return migrations


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        await connection.execute(migration.sql)
    except asyncpg.InsufficientPrivilegeError:
        raise
    except asyncpg.PostgresError as error:
        raise StartupError(
            f"migration {migration.version} ({migration.name}) failed, nothing was changed: {error}"
        ) from error
    await connection.execute(
        "INSERT INTO nonito_migrations (version, name) VALUES ($1, $2)",
        migration.version,
        migration.name,
    )


async def require_utf8(connection: Connection) -> None:
    """Raise StartupError for a database in which not every event could be stored."""
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StartupError(
            f"the database's encoding is {encoding}, and events need UTF8: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


async def applied_versions(connection: Connection) -> set[int]:
    """Return the versions that the database has; none when it was never migrated.

    Raises StartupError where the role sees no schema, in which that could be told.
    """
    if await connection.fetchval("SELECT current_schema()") is None:
        raise StartupError(
            "this role may use no schema of its search_path: GRANT USAGE ON SCHEMA public TO it"
        )
    if not await connection.fetchval(_IS_THERE):
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
