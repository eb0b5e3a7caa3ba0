"""How many connections a server may need at once, and how many Postgres has for it.

Postgres refuses what is beyond `max_connections`, and beyond what a database or a role is limited
to. Those that are reserved for superusers are nobody's here; those that others use now are theirs.
"""

from typing import Final, NamedTuple

from ingest.store.postgres import Connection
from ingest.store.turns import CONNECTIONS_MAX

INSIGHTS_MAX: Final = 6
"""Of the insights process: one that archives, two that are asked, one that looks keys up, one for
who watches events arrive, and one that erases people; that one's part of the archive has more, one
for each of its threads, and not at the same time as the archiver's."""
_DEDUP: Final = 1
_SESSIONS: Final = """
WITH session AS (
    SELECT datname, usename, application_name IN (
        current_setting('application_name'), current_setting('application_name') || '-archive'
    ) AS is_ours
    FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL
    AND coalesce(backend_type, 'client backend') = 'client backend'
)
SELECT 'max_connections' AS name, count(*) FILTER (WHERE is_ours) AS ours,
    count(*) FILTER (WHERE NOT is_ours) AS others,
    current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int AS allowed
FROM session
UNION ALL SELECT 'the database''s CONNECTION LIMIT', count(session) FILTER (WHERE is_ours),
    count(session) FILTER (WHERE NOT is_ours), datconnlimit
FROM pg_database LEFT JOIN session USING (datname)
WHERE datname = current_database() AND datconnlimit >= 0 GROUP BY datconnlimit
UNION ALL SELECT 'the role''s CONNECTION LIMIT', count(session) FILTER (WHERE is_ours),
    count(session) FILTER (WHERE NOT is_ours), rolconnlimit
FROM pg_roles LEFT JOIN session ON usename = rolname
WHERE rolname = session_user AND rolconnlimit >= 0 GROUP BY rolconnlimit
"""


class ConnectionBudget(NamedTuple):
    """What is needed, and the limit that leaves the least."""

    needed: int
    """All that a server has at once at most."""
    others: int
    """In use by others now, other servers among them."""
    allowed: int
    limit: str
    """What allows no more, for people."""

    @property
    def is_enough(self) -> bool:
        """Whether there is one for all that needs one."""
        return self.spare >= 0

    @property
    def spare(self) -> int:
        """How many are left; below 0 so many are missing."""
        return self.allowed - self.others - self.needed

    def __str__(self) -> str:
        """Say it in words."""
        others = f", others use {self.others} now" if self.others else ""
        said = f"{self.needed} connections at most, {self.limit} allows {self.allowed}{others}"
        if self.is_enough:
            return said
        return f"{said}: raise it, or lower server.workers or writer.connections"


def needed(*, workers: int, writers: int, has_insights: bool = False) -> int:
    """Return how many connections a server has at once at most; `writers` are each worker's."""
    insights = INSIGHTS_MAX if has_insights else 0
    return workers * (writers + _DEDUP) + CONNECTIONS_MAX + insights


async def read(connection: Connection, needs: int) -> ConnectionBudget:
    """Return how that compares with what Postgres allows; through a pooler that says little.

    Sessions of the same `application_name`, and of its archive's, are this server's as far as it
    needs them, and another one's beyond that.
    """
    rows = await connection.fetch(_SESSIONS)
    budgets = (
        ConnectionBudget(
            needs, row["others"] + max(0, row["ours"] - needs), row["allowed"], row["name"]
        )
        for row in rows
    )
    return min(budgets, key=lambda each: each.spare)
