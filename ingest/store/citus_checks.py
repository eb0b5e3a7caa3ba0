"""What `nonito check` looks at where the database is a Citus: its nodes, and what is set there."""

from datetime import timedelta
from typing import Final

from ingest.store import citus, nodes
from ingest.store.finding import Finding
from ingest.store.partition_map import existing_ranges
from ingest.store.postgres import Connection

_RECOVERED_S_MAX: Final = 10
_SHORT: Final = timedelta(days=20)
_HELD: Final = (
    "SELECT count(DISTINCT shardid) AS shards, count(DISTINCT groupid) AS nodes,"
    " (SELECT max(held) FROM (SELECT count(*) AS held FROM pg_dist_placement"
    "  JOIN pg_dist_shard USING (shardid) WHERE logicalrelid = 'events'::regclass"
    "  GROUP BY groupid) AS each) AS most"
    " FROM pg_dist_placement JOIN pg_dist_shard USING (shardid)"
    " WHERE logicalrelid = 'events'::regclass"
)
_SETTINGS: Final = (
    "SELECT current_setting('citus.max_cached_conns_per_worker')::int AS cached,"
    " (SELECT setting::int / 1000 FROM pg_settings WHERE name = 'citus.recover_2pc_interval')"
    " AS recovered_s"
)
_OF_WORKERS: Final = "SELECT min(result::int) FROM run_command_on_workers('SHOW {}') WHERE success"
_NOT_DURABLE: Final = """
SELECT nodename || ':' || nodeport AS node, result FROM run_command_on_workers($$
    SELECT string_agg(name, ', ' ORDER BY name) FROM pg_settings WHERE setting = 'off'
    AND name IN ('fsync', 'synchronous_commit', 'full_page_writes')
$$) WHERE success AND result <> '' ORDER BY 1
"""
_LOCAL: Final = (
    "Citus is there, and events are on the coordinator alone, as tables are distributed when they"
    " are made; to distribute those that there are, with no server running:"
    f" SELECT create_distributed_table('events', 'app_id', shard_count => {citus.SHARDS}), then"
    " idempotency_keys and rejected_events with colocate_with => 'events'"
)


async def examine(connection: Connection, connections: int) -> list[Finding]:
    """Look at nodes and settings; nothing where there is no Citus. `connections` come from servers.

    Raises PostgresError.
    """
    if not await citus.is_there(connection):
        return []
    if not await connection.fetchval(citus.IS_DISTRIBUTED):
        return [Finding(True, _LOCAL)]
    held = await connection.fetchrow(_HELD)
    shards, on_nodes, most = held or (0, 0, 0)
    said = f"Citus: events are in {shards} shards on {on_nodes} nodes"
    return [
        Finding(True, said),
        *await _away(connection),
        *await _durability(connection),
        *await _settings(connection, most),
        *await _of_workers(connection, connections * most),
        *await _short_partitions(connection),
    ]


async def _away(connection: Connection) -> list[Finding]:
    silent = await nodes.silent(connection)
    if not silent:
        return []
    return [Finding(False, f"nodes of Citus do not answer: {', '.join(silent)}")]


async def _durability(connection: Connection) -> list[Finding]:
    """Say where a commit may be lost in a crash; of the coordinator others have."""
    return [
        Finding(False, f"{row['result']} is off on the node {row['node']}: events can be lost")
        for row in await connection.fetch(_NOT_DURABLE)
    ]


async def _settings(connection: Connection, most: int) -> list[Finding]:
    row = await connection.fetchrow(_SETTINGS)
    cached, recovered_s = row or (most, 0)
    found = []
    if cached < most:
        found.append(
            Finding(
                True,
                f"citus.max_cached_conns_per_worker is {cached}, and a node has {most} shards: each"
                " COPY of many apps opens connections anew, and takes a multiple of its time; ALTER"
                f" SYSTEM SET citus.max_cached_conns_per_worker = {most}, then SELECT"
                " pg_reload_conf()",
            )
        )
    if not 0 <= recovered_s <= _RECOVERED_S_MAX:
        found.append(
            Finding(
                recovered_s >= 0,
                f"citus.recover_2pc_interval is {recovered_s} s: what a node had prepared when it"
                " died is seen so much later, and the archive is so much behind; ALTER SYSTEM SET"
                " citus.recover_2pc_interval = '5s', then SELECT pg_reload_conf()",
            )
        )
    return found


async def _of_workers(connection: Connection, needed: int) -> list[Finding]:
    """Say whether nodes take as many connections, and transactions that are prepared."""
    found = []
    for name in ("max_connections", "max_prepared_transactions"):
        allowed = await connection.fetchval(_OF_WORKERS.format(name))
        if allowed is not None and allowed < needed:
            found.append(
                Finding(
                    allowed > 0,
                    f"{name} of a node is {allowed}, and all connections of a server at once may"
                    f" need {needed} of it: raise it there",
                )
            )
    return found


async def _short_partitions(connection: Connection) -> list[Finding]:
    ranges = await existing_ranges(connection)
    if not ranges or max(each.end - each.start for each in ranges) > _SHORT:
        return []
    return [
        Finding(
            True,
            "partitions of days are as many tables on each shard, and slow to be made through"
            ' Citus: events.partition_by = "month"',
        )
    ]
