"""How Postgres is, by its own account: short looks only, each bounded whatever there is."""

from typing import Final, NamedTuple

from ingest.store import connection_budget, rejected_of_app, retention_report
from ingest.store.connection_budget import ConnectionBudget
from ingest.store.postgres import Connection, durability_off, is_pooled
from ingest.store.rejected_of_app import OfApp
from ingest.store.retention_report import RetentionReport

STRAYS_MAX: Final = 10_000
_STRAYS: Final = "SELECT count(*) FROM (SELECT 1 FROM events_default LIMIT $1) AS first"
# Of the catalog alone: sizes by file would take a lock on each partition, and a look at each file.
_PARTITIONS: Final = """
WITH part AS (
    SELECT oid, reltoastrelid FROM pg_inherits JOIN pg_class ON oid = inhrelid
    WHERE inhparent = 'events'::regclass
), held AS (
    SELECT oid FROM part UNION ALL SELECT reltoastrelid FROM part
    UNION ALL SELECT indexrelid FROM pg_index JOIN part ON indrelid = part.oid
)
SELECT (SELECT count(*) FROM part),
    coalesce(sum(greatest(relpages, 0)), 0)::bigint * current_setting('block_size')::int
FROM held JOIN pg_class USING (oid)
"""


class PostgresReport(NamedTuple):
    """How it is."""

    version: str
    connections: ConnectionBudget | None
    """None behind a pooler, which says nothing of them."""
    durability_off: list[str]
    """Settings without which a commit is not durable, and that are off."""
    partitions: int
    """The default one among them."""
    bytes: int
    """About what they take with their indexes, as Postgres last looked."""
    strays: int
    """Events without a partition of their own; STRAYS_MAX means that or more."""
    rejected: list[OfApp]
    retention: RetentionReport
    """How long events are kept, and what goes next."""


async def read(connection: Connection, connections_needed: int) -> PostgresReport:
    """Return it as of now; raise PostgresError."""
    budget = None
    if not await is_pooled(connection):
        budget = await connection_budget.read(connection, connections_needed)
    ((partitions, size),) = await connection.fetch(_PARTITIONS)
    return PostgresReport(
        str(await connection.fetchval("SHOW server_version")),
        budget,
        await durability_off(connection),
        partitions,
        size,
        int(await connection.fetchval(_STRAYS, STRAYS_MAX)),
        await rejected_of_app.by_app(connection),
        await retention_report.read(connection),
    )
