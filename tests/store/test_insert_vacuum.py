"""What is over is vacuumed for its rows, and what still takes some is not."""

import asyncpg
import pytest

from ingest.store import upkeep
from tests.support.postgres import fetch, make_postgres

OPTIONS = """
SELECT relname, reloptions FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'events'::regclass ORDER BY relname
"""
NEVER = ["autovacuum_vacuum_insert_threshold=-1"]
PAST = """
CREATE TABLE events_20010101_20010131 PARTITION OF events
FOR VALUES FROM ('00e3c887-6c00-0000-0000-000000000000')
TO ('00e46814-5400-0000-0000-000000000000') WITH (autovacuum_vacuum_insert_threshold = -1)
"""


async def options_of(url: str) -> dict[str, list[str] | None]:
    """Return the settings of each partition."""
    return {row["relname"]: row["reloptions"] for row in await fetch(url, OPTIONS)}


async def test_only_what_is_over_is_vacuumed_for_its_rows(own_url: str) -> None:
    """And a partition that gets rows without a partition of theirs never is."""
    await fetch(own_url, PAST)
    assert await upkeep.complete(make_postgres(own_url))
    found = await options_of(own_url)
    assert found.pop("events_20010101_20010131") is None
    assert "events_default" in found
    assert all(options == NEVER for options in found.values())


async def test_what_an_operator_has_set_stays(own_url: str) -> None:
    """Whatever it is."""
    set_ = "ALTER TABLE events_default SET (autovacuum_vacuum_insert_threshold = '1e6')"
    await fetch(own_url, set_)
    assert await upkeep.complete(make_postgres(own_url))
    found = await options_of(own_url)
    assert found["events_default"] == ["autovacuum_vacuum_insert_threshold=1e6"]


@pytest.mark.parametrize("mode", ["SHARE UPDATE EXCLUSIVE", "ACCESS EXCLUSIVE"])
async def test_lock_of_somebody_else_only_puts_it_off(own_url: str, mode: str) -> None:
    """It is set when they are done; even to look takes a lock, for which a DROP is waited for."""
    reset = "ALTER TABLE events_default RESET (autovacuum_vacuum_insert_threshold)"
    await fetch(own_url, reset)
    holder = await asyncpg.connect(own_url, timeout=10)
    async with holder.transaction():
        await holder.execute(f"LOCK TABLE ONLY events_default IN {mode} MODE")
        assert not await upkeep.complete(make_postgres(own_url))
    await holder.close()
    assert await upkeep.complete(make_postgres(own_url))
    assert (await options_of(own_url))["events_default"] == NEVER
