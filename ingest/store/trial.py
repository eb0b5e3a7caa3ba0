"""What this server's role may do in Postgres, found out by doing it, with no rows, and undoing it.

Nothing here holds up a server that runs: no lock is taken that its events would wait for.
"""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from ingest.store import merge
from ingest.store.copier import NO_ROWS
from ingest.store.postgres import Connection
from ingest.store.table import Table

_NOT_SUPPORTED: Final = "0A000"
_FORGET: Final = "SELECT key FROM idempotency_keys WHERE app_id = 0 LIMIT 0 FOR UPDATE"
_ALSO_DONE: Final = (
    "INSERT INTO rejected_events SELECT * FROM rejected_events LIMIT 0",
    "SELECT 1 FROM api_keys, apps, nonito_database, read_keys LIMIT 0",
    "INSERT INTO api_key_uses SELECT * FROM api_key_uses LIMIT 0",
    "UPDATE api_key_uses SET used_at = now() WHERE false",
    "INSERT INTO limit_uses SELECT * FROM limit_uses LIMIT 0",
    "UPDATE limit_uses SET events = 0 WHERE false",
    "UPDATE archive_state SET changed_at = now() WHERE false",
    "INSERT INTO archive_files SELECT * FROM archive_files LIMIT 0",
    "DELETE FROM archive_files WHERE false",
    "INSERT INTO person_links SELECT app_id, joined, person, kind, at_us FROM person_links LIMIT 0",
    "UPDATE person_links SET at_us = at_us WHERE false",
    "INSERT INTO retention SELECT * FROM retention LIMIT 0",
    "UPDATE retention SET trouble = trouble WHERE false",
    "UPDATE accounts SET email = email WHERE false",
    "INSERT INTO account_roles SELECT * FROM account_roles LIMIT 0",
    "DELETE FROM account_sessions WHERE false",
    "DELETE FROM sign_in_links WHERE false",
    "INSERT INTO audit_log (email, action, object) SELECT '', '', '' FROM audit_log LIMIT 0",
    "UPDATE boards SET name = name WHERE false",
    "DELETE FROM board_tiles WHERE false",
    f"DELETE FROM idempotency_keys WHERE app_id = 0 AND key = ANY (ARRAY({_FORGET}))",  # noqa: S608
)
"""What a server does beside storing events."""
_IS_OWNER: Final = (
    "SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class"
    " WHERE oid = ANY ($1::text[]::regclass[])"
)


@asynccontextmanager
async def undone(connection: Connection) -> AsyncIterator[None]:
    """Undo what is done within."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def why_no_events(connection: Connection, table: Table) -> str:
    """Return why this role can't store events in `table`, and how to mend it; empty if it can."""
    async with undone(connection):
        try:
            await _store_nothing(connection, table)
        except asyncpg.PostgresError as error:
            return f"{error} (SQLSTATE {error.sqlstate}); {_mend(error)}"
    return ""


async def why_no_partitions(connection: Connection) -> str:
    """Return why this role can't make partitions; empty if it can."""
    return await _why_no_tables(
        connection, "(LIKE events INCLUDING ALL)", ["events", "events_default"]
    )


async def why_no_migrations(connection: Connection) -> str:
    """Return why this role can't change tables that there are; empty if it can."""
    return await _why_no_tables(connection, "()", ["apps", "events", "events_default"])


async def _why_no_tables(connection: Connection, columns: str, owned: list[str]) -> str:
    if not await connection.fetchval(_IS_OWNER, owned):
        return "this role may not, as it doesn't own the tables"
    async with undone(connection):
        try:
            await connection.execute(f"CREATE TABLE nonito_trial {columns}")
        except asyncpg.PostgresError as error:
            return f"this role may not ({error})"
    return ""


async def _store_nothing(connection: Connection, table: Table) -> None:
    columns = [column.name for column in table.columns]
    await connection.copy_to_table(
        table.name, source=io.BytesIO(NO_ROWS), columns=columns, format="binary"
    )
    await connection.execute(merge.stage(table))
    await connection.execute(merge.RESERVE_BY_APP)
    await connection.execute(merge.insert(table))
    for statement in _ALSO_DONE:
        await connection.execute(statement)


def _mend(error: asyncpg.PostgresError) -> str:
    if error.sqlstate == _NOT_SUPPORTED:
        return "no COPY works under row-level security: ALTER ROLE … BYPASSRLS"
    return "GRANT what is missing, on the tables and TEMPORARY on the database"
