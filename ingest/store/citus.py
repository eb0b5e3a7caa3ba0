"""Citus: the three tables of events over many machines, by app; all others stay on the coordinator.

A database in which the operator has made the extension is distributed when its tables are made. An
app is on one shard, and all that belongs to one of its events is there too: what is sent for it is
one machine's to do.

What is different there, and where this server does something else for it: a COPY that meets a
stored row or a CHECK loses its SQLSTATE (store/link.py), rows that were stored before are looked up
between constants by app (store/distributed_merge.py), a partition is made empty and its strays come
into it afterwards (store/attachment.py).
"""

from typing import TYPE_CHECKING, Final

import asyncpg

from ingest.errors import StartupError

if TYPE_CHECKING:
    from ingest.store.postgres import Connection

SHARDS: Final = 4
"""So many of each table, unless the operator has set `citus.shard_count`. Each partition is so many
tables more, all of which are locked while it is attached, and a COPY of many apps is prepared and
committed on each: few are enough for as many nodes."""

IS_THERE: Final = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus')"
IS_DISTRIBUTED: Final = (
    "SELECT EXISTS (SELECT 1 FROM pg_dist_partition"
    " WHERE logicalrelid = 'events'::regclass AND partmethod = 'h')"
)
_SHARD_COUNT: Final = (
    f"SELECT CASE source WHEN 'default' THEN {SHARDS} ELSE setting::int END"  # noqa: S608 - ours
    " FROM pg_settings WHERE name = 'citus.shard_count'"
)
# Of all partitions at once, as they are empty: to a shard's no index can be attached afterwards.
_INDEX_ALL: Final = (
    "DROP INDEX events_xact_idx",
    "CREATE INDEX events_xact_idx ON events USING brin (xact) WITH (autosummarize = on)",
)
SETTLED: Final = """
(SELECT least(
    txid_snapshot_xmin(txid_current_snapshot()),
    min(next - ((next - xmin::text::bigint) & 4294967295))
) FROM pg_dist_transaction, txid_snapshot_xmax(txid_current_snapshot()) AS next)
"""
"""The coordinator's transaction below which none can still commit, nor be committed on its nodes.

Rows are prepared on their nodes, then the coordinator commits, then they do: a snapshot of the
coordinator's sees the transaction ended while rows of it are yet to come, and they are for as long
as a node is away. Until that is known to be done, `pg_dist_transaction` has rows that the
transaction itself has written. Citus looks at these every `citus.recover_2pc_interval`, so what
this says may be that much behind.

An INSERT of rows of one node alone would not be prepared: that commits first, and may do so behind
a coordinator that has died, and is told by nothing. So whatever stores events has a COPY."""
_DISTRIBUTE: Final = "SELECT create_distributed_table('events', 'app_id', shard_count => $1)"
_BESIDE: Final = "SELECT create_distributed_table('{}', 'app_id', colocate_with => 'events')"


async def is_there(connection: "Connection") -> bool:
    """Return whether a database has the extension; raise PostgresError."""
    return bool(await connection.fetchval(IS_THERE))


async def is_distributed(connection: "Connection") -> bool:
    """Return whether a database has events on several machines; raise PostgresError."""
    return await is_there(connection) and bool(await connection.fetchval(IS_DISTRIBUTED))


async def distribute(connection: "Connection") -> None:
    """Distribute tables that were just made, in their transaction, if the extension is there.

    Raises StartupError if Citus refuses it.
    """
    if not await is_there(connection):
        return
    shards = await connection.fetchval(_SHARD_COUNT)
    try:
        for statement in _INDEX_ALL:
            await connection.execute(statement)
        await connection.execute(_DISTRIBUTE, shards)
        for table in ("idempotency_keys", "rejected_events"):
            await connection.execute(_BESIDE.format(table))
    except asyncpg.PostgresError as error:
        raise StartupError(
            f"Citus does not distribute the tables ({error}): add its nodes on the coordinator with"
            " citus_set_coordinator_host and citus_add_node, or DROP EXTENSION citus"
        ) from error
