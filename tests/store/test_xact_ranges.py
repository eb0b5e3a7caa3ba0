"""Ranges of the index by transaction that were left half made are made anew."""

from contextlib import suppress

import asyncpg
import pytest
import structlog.testing

from ingest.store import upkeep, xact_ranges
from tests.support.postgres import fetch, make_postgres

EVENTS = 150_000
FILL = """
INSERT INTO events (app_id, id, event_name, event_params, created_at)
SELECT 1, (lpad(to_hex($1::bigint), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid,
    'test', jsonb_build_object('text', repeat('x', 200)), now()
FROM generate_series(1, $2::int) AS n
"""
MOMENT_MS = 1_798_761_600_000  # 2027-01-01T00:00:00Z
INDEX = """
SELECT indexrelid::regclass::text FROM pg_index
WHERE indrelid = 'events_20270101_20270131'::regclass
AND indexrelid::regclass::text LIKE '%xact_idx'
"""
READ = "EXPLAIN (ANALYZE, FORMAT json) SELECT FROM events_20270101_20270131 WHERE xact >= $1"
FORGET = """
SELECT brin_desummarize_range($1::text::regclass, page) FROM generate_series(
    0, pg_relation_size('events_20270101_20270131') / 8192, $2::int) AS page
"""
SUMMARIZE = "SELECT brin_summarize_new_values($1::text::regclass)"


async def pages_read_for_nothing(url: str) -> int:
    """Return how many pages a question for what is newer than everything reads."""
    connection = await asyncpg.connect(url, timeout=10)
    await connection.execute("SET enable_seqscan = off")
    plan = await connection.fetchval(READ.replace("$1", "9223372036854775807"))
    await connection.close()
    return int(plan.split('"Lossy Heap Blocks": ')[1].split(",")[0])


async def interrupt(url: str, index: str) -> None:
    """Have Postgres begin to make summaries, and be interrupted, until all have been begun."""
    connection = await asyncpg.connect(url, timeout=10)
    for number in range(1_000):
        await connection.execute(f"SET statement_timeout = {1 + number % 20}")
        with suppress(asyncpg.QueryCanceledError):
            await connection.fetchval(SUMMARIZE, index)
            break
    await connection.close()


@pytest.fixture
async def partition_of_many(own_url: str) -> str:
    """A database with a partition of many events, whose index has few summaries."""
    await fetch(own_url, "ALTER TABLE events_20270101_20270131 SET (autovacuum_enabled = off)")
    ((index,),) = await fetch(own_url, INDEX)
    # Or an autovacuum that comes by makes summaries all the same.
    await fetch(own_url, f"ALTER INDEX {index} SET (autosummarize = off)")
    await fetch(own_url, FILL, MOMENT_MS, EVENTS)
    await fetch(own_url, "ANALYZE events_20270101_20270131")
    return own_url


async def test_half_made_summaries_are_made_anew(partition_of_many: str) -> None:
    """Which no vacuum does: as they are they stand for every page behind them."""
    url = partition_of_many
    ((index,),) = await fetch(url, INDEX)
    before = 0
    while before <= 16 * xact_ranges.RANGE_PAGES:  # as luck would have it, few may be half made
        await fetch(url, FORGET, index, xact_ranges.RANGE_PAGES)
        await interrupt(url, index)
        await fetch(url, "VACUUM events_20270101_20270131")
        before = await pages_read_for_nothing(url)
    assert await upkeep.complete(make_postgres(url))
    assert await pages_read_for_nothing(url) <= 16 * xact_ranges.RANGE_PAGES
    ((count,),) = await fetch(url, "SELECT count(*) FROM events WHERE xact >= 0")
    assert count == EVENTS


async def test_summaries_that_autovacuum_has_not_made_are_made(partition_of_many: str) -> None:
    """As behind a large import, or where somebody has switched it off."""
    url = partition_of_many
    assert await pages_read_for_nothing(url) > 16 * xact_ranges.RANGE_PAGES
    assert await upkeep.complete(make_postgres(url))
    assert await pages_read_for_nothing(url) == 0


async def test_partition_that_somebody_works_on_is_left_to_later(
    partition_of_many: str,
) -> None:
    """And done then."""
    url = partition_of_many
    holder = await asyncpg.connect(url, timeout=10)
    async with holder.transaction():
        await holder.execute("LOCK TABLE events_20270101_20270131 IN SHARE UPDATE EXCLUSIVE MODE")
        with structlog.testing.capture_logs() as logged:
            assert not await upkeep.complete(make_postgres(url))
    await holder.close()
    assert [each["event"] for each in logged] == ["an index is left to later"]
    assert await upkeep.complete(make_postgres(url))
