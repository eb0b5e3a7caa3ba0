"""Which transaction wrote an event: by that whoever reads windows reads each event once."""

import asyncio
import random
from uuid import UUID

import asyncpg

from ingest.delivery.events_table import EVENTS
from ingest.events import copy_format
from ingest.store import rejected
from ingest.store.partitions import Partitions
from ingest.store.postgres import Connection, Postgres
from tests.store.events import copy, make_event, make_link, make_rejected
from tests.store.strays import copy_of, homes, ms, of_app
from tests.support.postgres import fetch, make_postgres

MARK = "SELECT txid_snapshot_xmin(txid_current_snapshot())"
WINDOW = "SELECT id FROM events WHERE xact >= $1 AND xact < $2"
TAIL = "SELECT id FROM events WHERE xact >= $1"
INSERT = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    " VALUES (1, $1, 'test', '{}', now())"
)
WRITERS = 8
TRANSACTIONS = 25


class Archive:
    """Reads what has settled, window after window, as an archive does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._mark = 0
        self.ids: list[UUID] = []

    async def read(self) -> None:
        """Read one window; assert that in its snapshot it completes what there is."""
        read_only = self._connection.transaction(isolation="repeatable_read", readonly=True)
        async with read_only:
            mark = await self._connection.fetchval(MARK)
            self.ids += await self._ids(WINDOW, self._mark, mark)
            tail = await self._ids(TAIL, mark)
            stored = await self._ids("SELECT id FROM events")
        self._mark = mark
        assert sorted(self.ids + tail) == sorted(stored)

    async def _ids(self, query: str, *arguments: int) -> list[UUID]:
        return [row["id"] for row in await self._connection.fetch(query, *arguments)]


async def write(url: str, seed: int) -> set[UUID]:
    """Insert in transactions of any length, some of which are rolled back; return what stays."""
    chance, stays = random.Random(seed), set()
    connection = await asyncpg.connect(url, timeout=10)
    for _ in range(TRANSACTIONS):
        transaction = connection.transaction()
        await transaction.start()
        events = [make_event().id for _ in range(chance.randint(1, 5))]
        for event_id in events:
            await connection.execute(INSERT, event_id)
            await asyncio.sleep(chance.choice((0, 0, 0.01, 0.05)))
        if chance.random() < 0.2:
            await transaction.rollback()
        else:
            await transaction.commit()
            stays |= set(events)
    await connection.close()
    return stays


async def test_windows_hold_each_event_once_however_transactions_overlap(
    database_url: str,
) -> None:
    """In every snapshot windows and tail are all there is; a long transaction is waited for."""
    async with make_postgres(database_url).session(60) as connection:
        archive = Archive(connection)
        long = await asyncpg.connect(database_url, timeout=10)
        transaction = long.transaction()
        await transaction.start()
        late = make_event().id
        await long.execute(INSERT, late)
        writing = [asyncio.create_task(write(database_url, seed)) for seed in range(WRITERS)]
        while not all(task.done() for task in writing):
            await archive.read()
        assert archive.ids == []  # it runs since before all of them
        await transaction.commit()
        await archive.read()
        stays = set().union(*(task.result() for task in writing), {late})
        assert len(archive.ids) == len(stays)
        assert set(archive.ids) == stays
        await long.close()


async def test_windows_move_on_while_transactions_overlap(database_url: str) -> None:
    """Without a long one many windows have something, and none has it twice."""
    async with make_postgres(database_url).session(60) as connection:
        archive, filled = Archive(connection), 0
        writing = [asyncio.create_task(write(database_url, seed)) for seed in range(WRITERS)]
        while not all(task.done() for task in writing):
            before = len(archive.ids)
            await archive.read()
            filled += len(archive.ids) > before
        await archive.read()
        stays = set().union(*(task.result() for task in writing))
        assert len(archive.ids) == len(stays)
        assert set(archive.ids) == stays
        assert filled > 5


async def test_every_way_into_the_table_tells_its_transaction(
    postgres: Postgres, database_url: str
) -> None:
    """COPY, a merge, row by row, and a rejected event that is tried again."""
    begun = (await fetch(database_url, MARK))[0][0]
    link = make_link(postgres)
    ways = [make_event() for _ in range(3)]
    document = [copy_format.document([event.row]) for event in ways]
    await link.copy(document[0], 1)
    await link.merge(document[1], 1, has_keys=False)
    await link.sift(document[2], 1, has_keys=False)
    await link.close()
    kept = make_rejected()
    async with postgres.session() as connection:
        await rejected.add(connection, EVENTS, [kept])
        retried = [each async for each in rejected.retry(connection, EVENTS, None)]
    assert [each.result for each in retried] == [rejected.RetryResult.STORED]
    rows = await fetch(database_url, "SELECT id, xact FROM events")
    assert {row["id"] for row in rows} == {*(event.id for event in ways), kept.id}
    found = sorted(row["xact"] for row in rows)
    assert found[0] >= begun
    assert len(set(found)) == len(found)
    assert found[-1] < (await fetch(database_url, MARK))[0][0]


async def test_event_that_moves_to_its_partition_keeps_its_transaction(own_url: str) -> None:
    """Also none, of an event that was stored before there was the column."""
    link = make_link(make_postgres(own_url))
    old, new = await copy_of(link, "2024-01-15", "2024-01-16")
    await link.close()
    await fetch(own_url, "UPDATE events SET xact = NULL WHERE id = $1", old)
    query = "SELECT id, xact FROM events ORDER BY id"
    before = await fetch(own_url, query)
    await Partitions(make_postgres(own_url), "month", 1).make_for(of_app([ms("2024-01-15")]))
    assert set((await homes(own_url)).values()) == {"events_20240101_20240131"}
    after = await fetch(own_url, query)
    assert after == before
    assert [row["xact"] is None for row in after] == [True, False]
    assert [row["id"] for row in after] == [old, new]


async def test_copy_still_inserts_many_rows_at_a_time(own_url: str) -> None:
    """A volatile default would have every row inserted by itself, at a multiple of the price."""
    (row,) = await fetch(own_url, "SELECT provolatile FROM pg_proc WHERE proname = 'txid_current'")
    assert row["provolatile"] in (b"s", "s")
    link = make_link(make_postgres(own_url))
    await copy(link, *(make_event() for _ in range(100)))
    await link.close()
    (row,) = await fetch(
        own_url, "SELECT count(DISTINCT xact) AS n, count(xact) AS all FROM events"
    )
    assert (row["n"], row["all"]) == (1, 100)
