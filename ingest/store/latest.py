"""The latest events of an app, for those who watch them arrive: found by id, a few at a time.

An id holds the time of receipt, so what has just come lies at the end of the one index that there
is, and reading it backward from there costs as much as is read, which is bounded. Postgres has to
be told so: its statistics know nothing of the last minutes, so it takes what is there for a few
rows, and would read all of a span and sort it (200,000 rows in 120 ms instead of 500 in 0.3 ms).
Events that came with a time of their own lie elsewhere; these are found by the transaction that
wrote them.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from ingest.store import person
from ingest.store.postgres import Connection

_SCANNED: Final = """
SELECT id, event_name FROM events
WHERE app_id = $1 AND id >= uuid_at($2) AND id < uuid_at($3) ORDER BY id DESC LIMIT $4
"""
# An aggregate takes rows in the order of its input.
_SCAN: Final = f"""
SELECT count(*), (array_agg(id))[1], (array_agg(id))[count(*)],
    (array_agg(id) FILTER (WHERE $5::text IS NULL OR event_name = $5))[1:$6]
FROM ({_SCANNED}) AS scanned
"""  # noqa: S608 - ours
_COUNT: Final = f"""
SELECT count(*), count(*) FILTER (WHERE $5::text IS NULL OR event_name = $5),
    (array_agg(id))[count(*)]
FROM ({_SCANNED}) AS scanned
"""  # noqa: S608 - ours
_BACKWARD: Final = (
    "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off"
)
_BY_XACT: Final = "SET LOCAL enable_seqscan = off; SET LOCAL max_parallel_workers_per_gather = 0"
_BYTES_MAX: Final = 8192
"""Of parameters as text; longer ones are not read."""
_PACKED_BYTES_MAX: Final = 2048
"""What Postgres has packed has to be unpacked to be read, and may be eighty times as much."""
_ROWS: Final = f"""
SELECT id, event_name, created_at, "timestamp", coalesce(octet_length(params), size),
    CASE WHEN octet_length(params) <= {_BYTES_MAX} THEN params END,
    CASE WHEN octet_length(params) <= {_BYTES_MAX} THEN {person.of_row("$3::text")} END
FROM (
    SELECT *, CASE WHEN size <= {_PACKED_BYTES_MAX} OR (size <= {_BYTES_MAX} AND NOT is_packed)
        THEN event_params::text END AS params
    FROM (
        SELECT *, pg_column_size(event_params) AS size,
            pg_column_compression(event_params) IS NOT NULL AS is_packed
        FROM events WHERE app_id = $1 AND id = ANY($2::uuid[])
    ) AS found OFFSET 0
) AS read ORDER BY id DESC
"""  # noqa: S608 - ours
# Written so that only the index by transaction is of use.
_ELSEWHERE: Final = """
SELECT app_id, id FROM events
WHERE xact >= $2 AND app_id + 0 = ANY($1::int[])
    AND CASE WHEN id >= uuid_at($3) AND id < uuid_at($4) THEN false ELSE true END
ORDER BY xact DESC, id DESC LIMIT $5
"""
_SNAPSHOT: Final = """
SELECT greatest(txid_snapshot_xmin(found), txid_snapshot_xmax(found) - $1)
FROM txid_current_snapshot() AS found
"""
_OPEN_XACTS_MAX: Final = 5_000
"""Somebody's transaction that is open for long has nobody read again and again what is behind it:
an event that was written so many transactions ago and is committed only now is not found."""
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""As far as ids go."""


class Span(NamedTuple):
    """Times of receipt; the end does not belong to it."""

    start: datetime
    end: datetime


class Scan(NamedTuple):
    """What was found at the end of a span."""

    looked_at: int
    """Events that were looked at, of whatever name."""
    newest: UUID | None
    """Of those."""
    oldest: UUID | None
    ids: Sequence[UUID]
    """Events of the name that is asked for, the latest first."""


class Rate(NamedTuple):
    """How many events come in a second."""

    events: int
    named: int
    """Those of the name that is asked for."""
    is_about: bool
    """Whether a part of the second was counted, and the rest is taken to be like it."""


class Row(NamedTuple):
    """One event."""

    id: UUID
    name: str
    created_at: datetime
    timestamp: datetime | None
    """When it happened, if its sender has said so."""
    size: int
    """What its parameters take, in bytes."""
    params: str | None
    """As JSON; None if that is long."""
    person: str | None


async def scan(
    connection: Connection,
    app_id: int,
    name: str | None,
    span: Span,
    *,
    scanned_max: int,
    ids_max: int,
) -> Scan:
    """Return the latest events of a span by their ids; of a name, or of any."""
    async with _transaction(connection, _BACKWARD):
        row = await connection.fetchrow(_SCAN, app_id, *span, scanned_max, name, ids_max)
    looked_at, newest, oldest, ids = row or (0, None, None, None)
    return Scan(looked_at, newest, oldest, ids or ())


async def read(
    connection: Connection, app_id: int, user_field: str, ids: Collection[UUID]
) -> list[Row]:
    """Return events, the latest first."""
    rows = await connection.fetch(_ROWS, app_id, list(ids), user_field)
    return [Row(*row) for row in rows]


async def rate(
    connection: Connection, app_id: int, name: str | None, end: datetime, counted_max: int
) -> Rate:
    """Return how many events came in the second before a time; counted up to so many."""
    span = Span(end - timedelta(seconds=1), end)
    async with _transaction(connection, _BACKWARD):
        row = await connection.fetchrow(_COUNT, app_id, *span, counted_max, name)
    events, named, oldest = row or (0, 0, None)
    if oldest is None or events < counted_max:
        return Rate(events, named, is_about=False)
    part_s = max(0.001, (end - time_of(oldest)).total_seconds())
    return Rate(round(events / part_s), round(named / part_s), is_about=True)


async def mark(connection: Connection) -> int:
    """Return a mark that all transactions lie before that have ended by now, but for few."""
    return int(await connection.fetchval(_SNAPSHOT, _OPEN_XACTS_MAX))


async def elsewhere(
    connection: Connection, app_ids: Collection[int], since: int, span: Span, limit: int
) -> list[tuple[int, UUID]]:
    """Return app and id of events that were written behind a mark and are not of a span."""
    async with _transaction(connection, _BY_XACT):
        rows = await connection.fetch(_ELSEWHERE, list(app_ids), since, *span, limit)
    return [(row[0], row[1]) for row in rows]


@asynccontextmanager
async def _transaction(connection: Connection, settings: str) -> AsyncIterator[None]:
    async with connection.transaction(isolation="read_committed", readonly=True):
        await connection.execute(settings)
        yield


def time_of(event_id: UUID) -> datetime:
    """Return the time that an id holds."""
    return EARLIEST + timedelta(milliseconds=event_id.int >> 80)
