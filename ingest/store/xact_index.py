"""The index by transaction: a small one (BRIN) of each partition, by which what is new is found.

`events` has one without rows, so that new partitions come with theirs. Those that were there before
get it while events come in, each CONCURRENTLY, and it is attached afterwards. What a server that
died left of one is invalid: nothing uses it, and it is dropped and made anew. Without the index
everything works, but that reading what is new reads everything.

Through PgBouncer this works as well: each step is a statement or a transaction of its own. A
statement_timeout of the role's ends one that takes longer, however: then make it with
`nonito migrate` past the pooler.
"""

from typing import Final, NamedTuple

import asyncpg
import structlog

from ingest.store import brief
from ingest.store.postgres import Connection
from ingest.store.reasons import reason_of

log = structlog.get_logger(__name__)

NAME: Final = "events_xact_idx"
_KIND: Final = "USING brin (xact) WITH (autosummarize = on)"
# Known by what it is, not by its name: new partitions' are named by Postgres. Newest first.
_LACKING: Final = """
SELECT part.oid::regclass::text AS partition,
    quote_ident(left(relname, 54) || '_xact_idx') AS wanted,
    found.name, coalesce(found.is_valid, false) AS is_valid
FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid
JOIN pg_attribute ON attrelid = part.oid AND attname = 'xact'
LEFT JOIN LATERAL (
    SELECT indexrelid::regclass::text AS name, indisvalid AS is_valid,
        EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid) AS is_attached
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
    WHERE indrelid = part.oid AND amname = 'brin' AND indpred IS NULL
    AND indnatts = 1 AND indkey[0] = attnum
    ORDER BY is_attached DESC, is_valid DESC LIMIT 1
) AS found ON true
WHERE inhparent = 'events'::regclass AND relkind = 'r'
AND (found.is_valid AND found.is_attached) IS NOT TRUE
ORDER BY relname DESC
"""
_HAS_PARENT: Final = (
    "SELECT EXISTS (SELECT FROM pg_index WHERE indrelid = 'events'::regclass"
    " AND indexrelid = to_regclass($1::text))"
)
_IS_VALID: Final = "SELECT indisvalid FROM pg_index WHERE indexrelid = $1::text::regclass"


class Lacking(NamedTuple):
    """A partition without a complete index; all names are quoted where they need it."""

    partition: str
    wanted: str
    """How its index is to be called if it is made."""
    name: str | None
    """The one that it has."""
    is_valid: bool


async def lacking(connection: Connection) -> list[Lacking]:
    """Return the partitions whose index is missing, invalid, or not attached; raise PostgresError.

    None that is itself partitioned, or another server's: those are their makers' to index.
    """
    return [Lacking(*row) for row in await connection.fetch(_LACKING)]


async def complete(connection: Connection) -> bool:
    """Make what is missing, not within a transaction; return whether nothing was left to later.

    Takes as long as reading the partitions, and as the oldest transaction that runs. Raises
    PostgresError, InsufficientPrivilegeError among them where the tables are another role's.
    """
    found = await lacking(connection)
    try:
        if found:
            await _make_for_new_ones(connection)
    except brief.IN_THE_WAY as error:
        return _leave("events", error)
    return all([await _was_mended(connection, each) for each in found])


async def _make_for_new_ones(connection: Connection) -> None:
    """Make the table's own index if it is gone; raise one of IN_THE_WAY."""
    if await connection.fetchval(_HAS_PARENT, NAME):
        return
    async with brief.transaction(connection):
        # Of two servers the second one waits here.
        await connection.execute("LOCK TABLE ONLY events IN SHARE ROW EXCLUSIVE MODE")
        if not await connection.fetchval(_HAS_PARENT, NAME):
            await connection.execute(f"CREATE INDEX {NAME} ON ONLY events {_KIND}")


async def _was_mended(connection: Connection, found: Lacking) -> bool:
    """Make, or make anew, or attach one partition's index; return whether that was done."""
    try:
        if not found.is_valid:
            await _make(connection, found)
        name = found.name if found.is_valid else found.wanted
        async with brief.transaction(connection):
            await connection.execute(f"ALTER INDEX {NAME} ATTACH PARTITION {name}")
    except (*brief.IN_THE_WAY, asyncpg.UndefinedTableError) as error:
        return _leave(found.partition, error)
    log.info("index by transaction made", partition=found.partition)
    return True


async def _make(connection: Connection, found: Lacking) -> None:
    """Drop what is left of an index, and make it; raise one of IN_THE_WAY if somebody is at it."""
    async with brief.transaction(connection):
        # Whoever is just making it has this lock: two at once would wait for each other.
        await connection.execute(f"LOCK TABLE {found.partition} IN SHARE UPDATE EXCLUSIVE MODE")
        if found.name is not None and not await connection.fetchval(_IS_VALID, found.name):
            await connection.execute(f"DROP INDEX {found.name}")
    await connection.execute(
        f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {found.wanted} ON {found.partition} {_KIND}"
    )


def _leave(partition: str, error: asyncpg.PostgresError) -> bool:
    log.warning("an index is left to later", partition=partition, reason=reason_of(error))
    return False
