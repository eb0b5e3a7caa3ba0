"""How the archive is, by what Postgres knows of it."""

from typing import Final, NamedTuple

from ingest.store.postgres import Connection

TAIL_MAX: Final = 100_000
"""So far the events are counted that are not in it."""
_FILES: Final = (
    "SELECT count(*), coalesce(sum(bytes), 0)::bigint, coalesce(sum(rows), 0)::bigint"
    " FROM archive_files"
)
# Without statistics of `xact` a partition from before the column would be read whole.
_BY_INDEX: Final = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
_TAIL: Final = (
    "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8"
    " FROM (SELECT created_at FROM events WHERE xact >= $1 LIMIT $2) AS tail"
)


class ArchiveReport(NamedTuple):
    """What is in the archive, and what is not yet."""

    files: int
    bytes: int
    events: int
    tail_events: int
    """At most TAIL_MAX."""
    lag_s: float
    """How long ago the oldest of these was stored; 0 if there are none."""


async def read(connection: Connection) -> ArchiveReport:
    """Return it as of now; raise PostgresError."""
    async with connection.transaction(readonly=True):
        await connection.execute(_BY_INDEX)
        ((files, size, events),) = await connection.fetch(_FILES)
        mark = await connection.fetchval("SELECT mark FROM archive_state")
        ((tail_events, lag_s),) = await connection.fetch(_TAIL, mark or 0, TAIL_MAX)
    return ArchiveReport(files, size, events, tail_events, max(0.0, lag_s))
