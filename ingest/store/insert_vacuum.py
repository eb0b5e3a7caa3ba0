"""When Postgres may vacuum a partition for its new rows: once its time is over.

By default it does so after every fifth of a partition. That tells later COPYs of the room left at
the end of every page, and a small event fits into what a large one has left: the newest rows are
scattered over pages of weeks, and each range of the index by transaction has some. Of a partition
of 9 million events whoever asked for the newest 384,000 read all, 1.7 GB in 1.2 s. So nothing but
dead rows, or Postgres's own limit of age, has a partition vacuumed while it takes rows.

Whoever has set `autovacuum_vacuum_insert_threshold` to something else knows better.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import structlog

from ingest.store import brief
from ingest.store.partition_map import range_of
from ingest.store.postgres import Connection
from ingest.store.reasons import reason_of

log = structlog.get_logger(__name__)

_OPTION: Final = "autovacuum_vacuum_insert_threshold"
_NEVER: Final = "-1"
_LATE: Final = timedelta(days=2)
"""So long after its end a partition may still get rows that have waited somewhere."""
_PARTITIONS: Final = """
SELECT child.oid::regclass::text AS name, pg_get_expr(child.relpartbound, child.oid) AS bounds,
    (SELECT option_value FROM pg_options_to_table(reloptions)
        WHERE option_name = $1) AS threshold
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'events'::regclass AND relkind = 'r'
AND pg_get_expr(child.relpartbound, child.oid) IS NOT NULL -- null of one just dropped
ORDER BY relname DESC
"""


class _Partition(NamedTuple):
    """One partition; its name is quoted where it needs it."""

    name: str
    bounds: str
    threshold: str | None
    """As somebody has written it."""

    @property
    def is_over(self) -> bool:
        """Whether it takes no rows any more; the default one always may."""
        found = range_of(self.bounds)
        return found is not None and found.end + _LATE < datetime.now(UTC)

    @property
    def change(self) -> str | None:
        """Return what is to be changed, as SQL; None for nothing."""
        if self.threshold == _NEVER and self.is_over:
            return f"RESET ({_OPTION})"
        if self.threshold is None and not self.is_over:
            return f"SET ({_OPTION} = {_NEVER})"
        return None


async def complete(connection: Connection) -> bool:
    """Set it where it is not yet as it should be; return whether nothing was left to later.

    Where the tables are another role's it stays: nothing is wrong by that. Raises PostgresError.
    """
    try:
        async with brief.transaction(connection):
            # Waits for whoever drops a partition: its bounds are read under a lock.
            found = await connection.fetch(_PARTITIONS, _OPTION)
    except brief.IN_THE_WAY as error:
        log.info("settings are left to later", reason=reason_of(error))
        return False
    return all([await _was_set(connection, _Partition(*each)) for each in found])


async def _was_set(connection: Connection, partition: _Partition) -> bool:
    if (change := partition.change) is None:
        return True
    try:
        async with brief.transaction(connection):
            # Keeps out neither those who read nor those who write.
            await connection.execute(f"ALTER TABLE {partition.name} {change}")
    except (*brief.IN_THE_WAY, asyncpg.UndefinedTableError) as error:
        reason = reason_of(error)
        log.info("a setting is left to later", partition=partition.name, reason=reason)
        return False
    except asyncpg.InsufficientPrivilegeError:
        return True
    return True
