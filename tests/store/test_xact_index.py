"""The index by transaction: made beside events that come in, made anew where one is broken."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import asyncpg
import pytest

from ingest.store import attachment, upkeep, xact_index
from ingest.store.cluster import Cluster
from ingest.store.partitions import Partitions
from tests.store.before import LAST, make_before
from tests.store.events import copy, make_event, make_link, until_true
from tests.store.strays import fill, holding, make_days, ms, of_app
from tests.support.pgbouncer import PROGRAM, running_pgbouncer
from tests.support.postgres import fetch, make_postgres

IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('events_xact_idx')"
INDEXED = "SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass('events_xact_idx')"
BROKEN = "SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid"
DEFAULT = "CREATE INDEX CONCURRENTLY events_default_xact_idx ON events_default USING brin (xact)"


async def lacking(url: str) -> list[str]:
    """Return the partitions that have no complete index."""
    async with make_postgres(url).session() as connection:
        return [each.partition for each in await xact_index.lacking(connection)]


async def is_complete(url: str) -> bool:
    """Return whether every partition has it, and so the table."""
    ((is_valid,),) = await fetch(url, IS_VALID)
    return bool(is_valid) and await lacking(url) == []


async def until_complete(url: str) -> None:
    """Make it until nothing is left to later."""
    async with asyncio.timeout(20):
        while not await upkeep.complete(make_postgres(url)):  # noqa: ASYNC110 - it is asked again
            await asyncio.sleep(0.05)
    assert await is_complete(url)


async def break_index(url: str) -> None:
    """Have the index of the default partition be interrupted while it is made."""
    await fetch(url, "DROP INDEX events_xact_idx")
    async with holding(url, "LOCK TABLE events_default IN ROW EXCLUSIVE MODE"):
        maker = await asyncpg.connect(url, timeout=10)
        await maker.execute("SET statement_timeout = '100ms'")
        with suppress(asyncpg.QueryCanceledError):
            await maker.execute(DEFAULT)
        await maker.close()
    assert [row["name"] for row in await fetch(url, BROKEN)] == ["events_default_xact_idx"]


async def test_partitions_made_later_have_it(own_url: str) -> None:
    """Those ahead, those that events ask for, those made by proof, and those made by hand."""
    assert await is_complete(own_url)
    ((before,),) = await fetch(own_url, INDEXED)
    some = Partitions(make_postgres(own_url), "month", 8)
    await some.ensure()
    await fill(own_url, "2024-01-10", 10)
    await some.make_for(of_app([ms("2024-01-10")]))
    await make_days(own_url, "2023-01-01", 2)
    ((after,),) = await fetch(own_url, INDEXED)
    assert after == before + 5 + 1 + 2
    assert await is_complete(own_url)


async def test_partition_made_by_proof_has_it(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That way is for a default partition that is too large to be read under a lock."""
    monkeypatch.setattr(attachment, "DEFAULT_BYTES_MAX", 8192)
    await fill(own_url, "2024-01-10", 1_000)
    ((before,),) = await fetch(own_url, INDEXED)
    await Partitions(make_postgres(own_url), "month", 6).ensure()
    ((after,),) = await fetch(own_url, INDEXED)
    assert after == before + 3
    assert await is_complete(own_url)


async def test_partitions_of_before_get_it_while_events_come_in(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, though nobody has stopped writing; what they held is as it was."""
    await make_before(empty_url, monkeypatch)
    await fill(empty_url, "2024-01-10", 1_000)
    link, stop = make_link(make_postgres(empty_url)), asyncio.Event()

    async def write() -> int:
        count = 0
        while not stop.is_set():
            await copy(link, make_event())
            count += 1
        return count

    writing = asyncio.create_task(write())
    looking = asyncio.create_task(upkeep.run(make_postgres(empty_url)))
    # An index that somebody is in the way of is tried again within 72 s.
    await until_true(empty_url, f"SELECT ({LAST}) >= 9 AND coalesce(({IS_VALID}), false)", 100)
    stop.set()
    written = await writing
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    await link.close()
    assert await is_complete(empty_url)
    (row,) = await fetch(empty_url, "SELECT count(*) AS n, count(xact) AS marked FROM events")
    assert row["n"] == 1_000 + written
    assert row["marked"] <= written


async def test_index_that_was_interrupted_is_made_anew(own_url: str) -> None:
    """Invalid, it would be written to for ever and be of no use."""
    await break_index(own_url)
    assert await upkeep.complete(make_postgres(own_url))
    assert await fetch(own_url, BROKEN) == []
    assert await is_complete(own_url)


async def test_index_that_another_server_is_making_is_left_to_it(own_url: str) -> None:
    """It is invalid until that is done, and nobody drops it."""
    await break_index(own_url)
    lock = "LOCK TABLE events_default IN SHARE UPDATE EXCLUSIVE MODE"  # as whoever makes it has
    async with holding(own_url, lock):
        assert not await upkeep.complete(make_postgres(own_url))
        names = [row["name"] for row in await fetch(own_url, BROKEN)]
        assert "events_default_xact_idx" in names
    assert await upkeep.complete(make_postgres(own_url))
    assert await is_complete(own_url)


async def test_servers_that_make_it_at_once_end_with_one(own_url: str) -> None:
    """Whoever is in the other's way comes again."""
    await fetch(own_url, "DROP INDEX events_xact_idx")

    await asyncio.gather(*(until_complete(own_url) for _ in range(3)))
    (row,) = await fetch(
        own_url,
        "SELECT count(*) AS n FROM pg_index JOIN pg_class ON oid = indexrelid"
        " WHERE indrelid = 'events_default'::regclass AND relname LIKE '%xact%'",
    )
    assert row["n"] == 1


async def test_reader_only_delays_it(own_url: str) -> None:
    """A dump, say: what needs its locks is left to later, and events go on beside both."""
    await fetch(own_url, "DROP INDEX events_xact_idx")
    link = make_link(make_postgres(own_url))
    async with holding(own_url, "SELECT count(*) FROM events"):
        making = asyncio.create_task(upkeep.complete(make_postgres(own_url)))
        for _ in range(20):
            await copy(link, make_event())
    await making
    await link.close()
    await until_complete(own_url)


async def test_column_made_anew_gets_its_index_again(own_url: str) -> None:
    """As after a restore, when transactions are counted from elsewhere."""
    await fetch(
        own_url,
        "ALTER TABLE events DROP COLUMN xact, ADD COLUMN xact bigint,"
        " ALTER COLUMN xact SET DEFAULT txid_current()",
    )
    assert len(await lacking(own_url)) > 3
    await until_complete(own_url)


@pytest.fixture
def pooled_own_url(cluster: Cluster, own_url: str) -> Iterator[str]:
    """The test's database through a pooler."""
    with running_pgbouncer(cluster) as running:
        yield running.through(own_url)


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
async def test_it_is_made_through_a_pooler(own_url: str, pooled_own_url: str) -> None:
    """Also where one is broken: each step is a statement or a transaction of its own."""
    await break_index(own_url)
    await until_complete(pooled_own_url)
    assert await is_complete(own_url)
