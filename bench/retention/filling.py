"""The events that are to go: a month of one app, and some of another in a month that stays."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import asyncpg

from ingest.store.periods import Range, first_id, name_of, unix_ms

APP: Final = 1
OTHER: Final = 2
_CHUNK: Final = 500_000
_MONTHS: Final = (
    Range(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)),
    Range(datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
)
_MAKE: Final = (
    "CREATE TABLE IF NOT EXISTS {name} PARTITION OF events FOR VALUES FROM ('{first}') TO ('{end}')"
)
_FILL: Final = """
INSERT INTO events (app_id, id, event_name, event_params, created_at)
SELECT $1,
    (lpad(to_hex($2 + n * $3 / $4), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
    'page_view',
    jsonb_build_object('page', '/p/' || n % 1000, 'plan', n % 7, 'user_id', 'user-' || n % 50000),
    to_timestamp(($2 + n * $3 / $4) / 1000.0)
FROM generate_series($5::bigint, $6::bigint - 1) AS n
"""
# What is known of long ago, so that nobody waits for ten minutes.
_ANNOUNCED: Final = """
INSERT INTO retention (app_id, retain_days, archive_retain_days, announced_at)
SELECT id, coalesce(retain_days, $1), coalesce(retain_days, $1), now() - interval '1 hour'
FROM (SELECT id, retain_days FROM apps UNION ALL SELECT 0, NULL) AS each
"""
_APPS: Final = "INSERT INTO apps (name, retain_days) VALUES ('by rows', NULL), ('keeper', 0)"


class Filled(NamedTuple):
    """What is there."""

    partition: str
    """That goes whole."""
    bytes: int
    """Of it, with its indexes."""


async def fill(
    url: str, events: int, rows: int, retain_days: int, tell: Callable[[int], None]
) -> Filled:
    """Store so many events that go with their partition, and so many that go row by row."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_APPS)
        for month in _MONTHS:
            bounds = {"first": first_id(month.start), "end": first_id(month.end)}
            await connection.execute(_MAKE.format(name=name_of(month), **bounds))
        await _fill(connection, APP, _MONTHS[0], events, tell)
        await _fill(connection, OTHER, _MONTHS[1], rows, tell)
        await _fill(connection, OTHER + 1, _MONTHS[1], 1, tell)  # for which it stays
        await connection.execute(_ANNOUNCED, retain_days)
        await connection.execute("VACUUM ANALYZE events")
        await connection.execute("CHECKPOINT")
        name = name_of(_MONTHS[0])
        size = await connection.fetchval(f"SELECT pg_total_relation_size('{name}')")
        return Filled(name, int(size))
    finally:
        await connection.close()


async def _fill(
    connection: "asyncpg.Connection[asyncpg.Record]",
    app_id: int,
    month: Range,
    events: int,
    tell: Callable[[int], None],
) -> None:
    start_ms = unix_ms(month.start)
    length_ms = unix_ms(month.end) - start_ms
    for first in range(0, events, _CHUNK):
        end = min(events, first + _CHUNK)
        await connection.execute(_FILL, app_id, start_ms, length_ms, events, first, end)
        tell(end - first)


async def wait_until_gone(url: str, partition: str, timeout_s: float) -> None:
    """Wait until a partition is no table any more; raise TimeoutError."""
    await _wait(url, f"SELECT to_regclass('{partition}') IS NULL", timeout_s)


async def wait_until_deleted(url: str, timeout_s: float) -> None:
    """Wait until nothing is left that goes row by row; raise TimeoutError."""
    sql = f"SELECT NOT EXISTS (SELECT FROM {name_of(_MONTHS[1])} WHERE app_id = {OTHER})"  # noqa: S608 - ours
    await _wait(url, sql, timeout_s)


async def _wait(url: str, sql: str, timeout_s: float) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(timeout_s):
            while not await connection.fetchval(sql):  # noqa: ASYNC110 - it is told of by nobody
                await asyncio.sleep(0.02)
    finally:
        await connection.close()
