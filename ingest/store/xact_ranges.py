"""The ranges of the index by transaction: Postgres leaves some half made, and they are made anew.

A BRIN index has a summary of each range of pages. Whoever makes one puts a placeholder there first;
if that is interrupted, as autovacuum is whenever somebody waits for its lock, the placeholder
stays, and no vacuum takes it for a summary to be made. PostgreSQL 15 to 18 then read every range
behind it as well (`bt_placeholder` is not reset in `brin_deform_tuple`): of 10 million events a
question for the newest ones read half, 0.6 s each time. Nothing is wrong by that, but slow.
"""

from typing import Final, NamedTuple

import asyncpg
import msgspec
import structlog

from ingest.store import brief
from ingest.store.postgres import Connection
from ingest.store.reasons import reason_of

log = structlog.get_logger(__name__)

RANGE_PAGES: Final = 128
"""Pages in a range, as Postgres has it by default."""

_MATCHING_MAX: Final = 16 * RANGE_PAGES
"""So many pages may be read for nothing: those without a summary yet, and autovacuum takes time."""
_TRIES_MAX: Final = 64
_TIMEOUT_MS: Final = 60_000.0
_INDEXES: Final = """
SELECT partition.oid::regclass::text AS partition, index.oid::regclass::text AS index
FROM pg_inherits JOIN pg_class AS index ON index.oid = inhrelid
JOIN pg_index ON indexrelid = index.oid JOIN pg_class AS partition ON partition.oid = indrelid
WHERE inhparent = to_regclass('events_xact_idx') AND indisvalid
AND partition.relpages > $1
"""
_PAGES: Final = "SELECT pg_relation_size($1::text::regclass) / current_setting('block_size')::int"
# No transaction has this number, so whatever matches has no summary.
_NOTHING: Final = "SELECT FROM {} WHERE xact >= 9223372036854775807"
_REMAKE: Final = (
    "SELECT brin_desummarize_range($1::text::regclass, $2),"
    " brin_summarize_range($1::text::regclass, $2)"
)


class _Index(NamedTuple):
    """One of a partition; both names are quoted where they need it."""

    partition: str
    name: str


async def complete(connection: Connection) -> bool:
    """Make what is missing, not within a transaction; return whether nothing was left to later.

    Takes as long as reading what has no summary. Raises PostgresError, InsufficientPrivilegeError
    among them where the tables are another role's.
    """
    found = await connection.fetch(_INDEXES, _MATCHING_MAX)
    return all([await _was_completed(connection, _Index(*row)) for row in found])


async def _was_completed(connection: Connection, index: _Index) -> bool:
    try:
        if await _first_matching(connection, index) is None:
            return True
        await _do(connection, "SELECT brin_summarize_new_values($1::text::regclass)", index.name)
        for _ in range(_TRIES_MAX):
            if (first := await _first_matching(connection, index)) is None:
                log.info("index by transaction completed", partition=index.partition)
                return True
            await _do(connection, _REMAKE, index.name, first)
    except (*brief.IN_THE_WAY, asyncpg.UndefinedTableError) as error:
        reason = reason_of(error)
    else:
        reason = f"much of it has no summary: REINDEX INDEX CONCURRENTLY {index.name}"
    log.warning("an index is left to later", partition=index.partition, reason=reason)
    return False


async def _first_matching(connection: Connection, index: _Index) -> int | None:
    """Return the first page that is read for nothing; None if there are few of them."""
    async with connection.transaction(isolation="read_committed", readonly=True):
        await connection.execute(f"{brief.limits(_TIMEOUT_MS)}; SET LOCAL enable_seqscan = off")
        pages = await connection.fetchval(_PAGES, index.partition)
        sql = _NOTHING.format(index.partition)
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {sql}")
    matching = msgspec.json.decode(plan)[0]["Plan"].get("Lossy Heap Blocks", 0)
    if matching <= _MATCHING_MAX:
        return None
    return int(pages - matching) // RANGE_PAGES * RANGE_PAGES


async def _do(connection: Connection, sql: str, *arguments: object) -> None:
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(brief.limits(_TIMEOUT_MS))
        await connection.execute(sql, *arguments)
