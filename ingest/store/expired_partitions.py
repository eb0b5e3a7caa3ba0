"""Partitions that are behind the horizons of all whose events they hold: dropped whole.

`DETACH PARTITION CONCURRENTLY` is refused where a table has a default partition, and a DROP keeps
everybody out of `events`, of `events_default` and of the partition. So, while events come in:

1. It is not asked for while somebody holds a lock that it would wait for, for longer than a COPY
   takes: a dump, a long question, the archive's pass.
2. The partition is locked first, which nobody minds who sends events of now, and what is to be
   looked at is looked at under that lock alone.
3. The locks are asked for with a time-out of LOCK_MS: so long others may queue up behind it.
4. All is one transaction: whoever dies in it leaves the partition as it was. The files are deleted
   behind its commit, when its locks are gone.

Measured with PostgreSQL 18, 20 million rows (3.8 GB), beside 64 connections that send on two busy
cores (`python -m bench retention`): p99 29 ms where it was 12, none above 63; 56 and 84 when six
others wanted these cores.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import asyncpg

from ingest.store import archive_mark, attachment, citus, horizons
from ingest.store.archive_mark import InUse, Waits
from ingest.store.horizons import OTHERS, Horizon
from ingest.store.partition_map import range_of
from ingest.store.periods import Range
from ingest.store.postgres import Connection

LOCK_MS: Final = 50
IN_THE_WAY: Final = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
)

_WORK_MS: Final = 500
_LOOK_S: Final = 60
_OLD_MS: Final = 100
"""Whoever has held a lock for so long is no COPY of a few rows."""
_PARTITIONS: Final = """
SELECT child.oid::regclass::text AS name, pg_get_expr(child.relpartbound, child.oid) AS bounds,
    greatest(child.reltuples, 0)::bigint AS rows,
    coalesce((SELECT sum(pages) FROM (
        SELECT child.relpages AS pages
        UNION ALL SELECT relpages FROM pg_class WHERE oid = child.reltoastrelid
        UNION ALL SELECT relpages FROM pg_index JOIN pg_class ON oid = indexrelid
            WHERE indrelid = child.oid
    ) AS held), 0)::bigint * current_setting('block_size')::int AS bytes
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'events'::regclass
"""
# Each app by one look into the index: no id can be looked up without its app.
_APPS: Final = """
WITH RECURSIVE found (app_id) AS (
    SELECT min(app_id) FROM {name} UNION ALL
    SELECT (SELECT min(app_id) FROM {name} WHERE app_id > found.app_id) FROM found
    WHERE found.app_id IS NOT NULL
) SELECT app_id FROM found WHERE app_id IS NOT NULL
"""
# Citus knows no recursion over all shards.
_APPS_OF_SHARDS: Final = "SELECT DISTINCT app_id FROM {name}"
# Written so that only the index by transaction is of use.
_LACKING: Final = (
    "SELECT EXISTS (SELECT 1 FROM {name} WHERE app_id + 0 = ANY ($1::int[]) AND {lacks})"
)
_HOLDER: Final = """
SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start)::int
FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
WHERE granted AND locktype = 'relation' AND pid <> pg_backend_pid()
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND relation = ANY (ARRAY['events', 'events_default', $1]::text[]::regclass[])
AND xact_start < clock_timestamp() - $2 * interval '1 millisecond'
ORDER BY xact_start LIMIT 1
"""
_LIMITS: Final = (
    f"SET LOCAL lock_timeout = '{LOCK_MS}ms'; SET LOCAL statement_timeout = '{_WORK_MS}ms';"
    " SET LOCAL idle_in_transaction_session_timeout = '2s';"
    " SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
)


class Partition(NamedTuple):
    """One of `events`, but the default one."""

    name: str
    """Quoted where it needs it."""
    range: Range
    rows: int
    """About, as Postgres last looked."""
    bytes: int
    """With its indexes, as it last looked."""


async def list_all(connection: Connection) -> list[Partition]:
    """Return all, the oldest first; raise PostgresError."""
    rows = await connection.fetch(_PARTITIONS)
    found = ((range_of(row["bounds"]), row) for row in rows)
    return sorted(
        (Partition(row["name"], each, row["rows"], row["bytes"]) for each, row in found if each),
        key=lambda partition: partition.range,
    )


async def holders(
    connection: Connection, partition: Partition, known: Mapping[int, Horizon]
) -> Mapping[int, Horizon]:
    """Return the horizons of all apps whose events it holds; raise PostgresError."""
    apps = _APPS_OF_SHARDS if await citus.is_distributed(connection) else _APPS
    rows = await connection.fetch(apps.format(name=partition.name))
    return {row["app_id"]: known.get(row["app_id"], known[OTHERS]) for row in rows}


def has_expired(partition: Partition, holding: Mapping[int, Horizon]) -> bool:
    """Return whether all that it holds is behind the horizons; of an empty one that is so."""
    end = partition.range.end
    return all(each.events_before and each.events_before >= end for each in holding.values())


async def drop(connection: Connection, partition: Partition, archive_interval_s: float) -> None:
    """Drop one that has expired; raise Waits, one of IN_THE_WAY, or another PostgresError.

    Where the archive, which works so often, is to hold it, it goes only when it is there. What was
    taken back meanwhile stays, and what an app has there of which nobody has said anything yet.
    """
    name = partition.name
    # What takes long is found out before anybody is kept out, and only confirmed then.
    async with connection.transaction():
        await connection.execute(
            f"SET LOCAL statement_timeout = '{_LOOK_S}s'; SET LOCAL enable_seqscan = off"
        )
        await _require_expired(connection, partition, archive_interval_s)
        await _require_nobody(connection, name)
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(_LIMITS)
        if not await connection.fetchval(
            f"SELECT pg_try_advisory_xact_lock({horizons.LOCK})"
            f" AND pg_try_advisory_xact_lock({attachment.LOCK})"
        ):
            raise InUse("another server is at work on the partitions")
        # Whoever makes the archive anew keeps what Postgres has no more: not while it goes.
        await connection.execute(
            f"LOCK TABLE retention IN ROW EXCLUSIVE MODE; LOCK TABLE {name} IN ACCESS EXCLUSIVE"
            " MODE"
        )
        await _require_expired(connection, partition, archive_interval_s)
        await connection.execute(f"DROP TABLE {name}")


async def _require_expired(
    connection: Connection, partition: Partition, archive_interval_s: float
) -> None:
    known = horizons.by_app(await horizons.read(connection))
    end, holding = partition.range.end, await holders(connection, partition, known)
    if not has_expired(partition, holding):
        raise Waits(f"{partition.name} holds events that are kept")
    first = {
        app_id: each
        for app_id, each in holding.items()
        if each.archive_before is None or each.archive_before < end
    }
    if not first:
        return
    for each in first.values():
        each.require_taken_again()
    mark = await archive_mark.read(connection)
    mark.require_fresh(archive_interval_s)
    sql = _LACKING.format(name=partition.name, lacks=mark.lacks)
    # What has no `xact` is looked for row by row: not while others wait.
    if not mark.null_done or await connection.fetchval(sql, list(first)):
        raise Waits(f"{partition.name} holds events that are not in the archive yet")


async def _require_nobody(connection: Connection, name: str) -> None:
    """Raise InUse while somebody holds a lock for longer than a COPY does."""
    row = await connection.fetchrow(_HOLDER, name, _OLD_MS)
    if row is not None:
        pid, application, since_s = row
        told = f" ({application})" if application else ""
        raise InUse(f"process {pid}{told} has used the table for {since_s} s")
