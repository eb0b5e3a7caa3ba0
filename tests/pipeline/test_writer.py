"""The writer against a real Postgres: one bad row costs its sender an answer and nobody else."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import pytest

from ingest.errors import Code, Refusal
from ingest.observe.metrics import Books
from ingest.pipeline import rows
from ingest.pipeline.fate import Fate
from ingest.pipeline.ids import IdSequence
from ingest.pipeline.queue import EventQueue
from ingest.pipeline.shelter import Shelter
from ingest.pipeline.writer import Writer
from ingest.store import failures
from ingest.store.health import Health
from ingest.store.link import CopyLink
from ingest.store.postgres import Postgres
from tests.support.postgres import fetch

GOOD = b'{"a": 1}'
BAD = b'{"a": "\\u0000"}'  # no event with this gets past the intake
ids = IdSequence()


class Sender:
    """Waits for one event's fate."""

    def __init__(self) -> None:
        self.fate: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()

    def settle(self, fate: Fate, row: bytes = b"") -> None:  # noqa: ARG002
        """Take the answer; a second one would raise InvalidStateError."""
        self.fate.set_result(fate)


class CountingLink(CopyLink):
    """A real link that counts its COPYs."""

    copies = 0

    async def copy(self, document: bytes, rows: int) -> None:
        """Count, and copy."""
        self.copies += 1
        await super().copy(document, rows)


class Pipeline:
    """A queue, one writer, and the link that it writes through."""

    def __init__(self, postgres: Postgres) -> None:
        self.books = Books()
        self.queue = EventQueue(
            events_max=10_000, bytes_max=10**8, batch_events_max=5000, batch_bytes_max=10**7
        )
        self.link = CountingLink(postgres, rows.TABLE, rows.COLUMNS, rows.KEY)
        self.health = Health(self.link, rows.document([]))
        self.writer = Writer(
            self.queue, self.link, self.health, Shelter(None, self.books), self.books
        )

    def put(self, params: bytes) -> Sender:
        """Queue an event."""
        event_id, _, received = ids.next()
        sender = Sender()
        row = rows.row(rows.row_head(1), event_id, b"name", params, received.row)
        self.queue.put(row, sender)
        return sender

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the writer."""
        task = asyncio.create_task(self.writer.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.link.close()


@pytest.fixture
def pipeline(postgres: Postgres) -> Pipeline:
    """A pipeline on the test's database."""
    return Pipeline(postgres)


async def codes_of(senders: list[Sender]) -> list[Code | None]:
    """Return what each sender was told."""
    told = await asyncio.wait_for(asyncio.gather(*(sender.fate for sender in senders)), 20)
    return [fate.code if isinstance(fate, Refusal) else None for fate in told]


async def count(url: str) -> int:
    """Return how many events are stored."""
    return int((await fetch(url, "SELECT count(*) FROM events"))[0]["count"])


@pytest.mark.parametrize("bad", [0, 1, 2, 5, 10])
async def test_bad_rows_among_1000_cost_only_their_senders(
    pipeline: Pipeline, database_url: str, bad: int
) -> None:
    """Their neighbours are committed, with one more COPY for each bad row."""
    places = set(random.Random(bad).sample(range(1000), bad))
    senders = [pipeline.put(BAD if place in places else GOOD) for place in range(1000)]
    async with pipeline.running():
        codes = await codes_of(senders)
    refused = {place for place, code in enumerate(codes) if code is Code.REJECTED_BY_DATABASE}
    assert refused == places
    assert codes.count(None) == 1000 - bad == await count(database_url)
    assert pipeline.link.copies == 1 + bad


async def test_batch_of_nothing_but_bad_rows_stores_nothing(
    pipeline: Pipeline, database_url: str
) -> None:
    """And the next batch is written as if nothing had been."""
    async with pipeline.running():
        assert (
            await codes_of([pipeline.put(BAD) for _ in range(5)]) == [Code.REJECTED_BY_DATABASE] * 5
        )
        assert await codes_of([pipeline.put(GOOD)]) == [None]
    assert await count(database_url) == 1


@pytest.mark.parametrize("place", [0, 1, 7, 15, 16])
async def test_bad_row_that_the_error_does_not_name_is_found(
    pipeline: Pipeline, database_url: str, place: int
) -> None:
    """Without a line in the error's context it is found by bisection; none is stored twice."""
    senders = [pipeline.put(BAD if each == place else GOOD) for each in range(17)]
    with patch.object(failures, "_row_index", lambda *_: None):
        async with pipeline.running():
            codes = await codes_of(senders)
    assert [each for each, code in enumerate(codes) if code] == [place]
    assert await count(database_url) == 16


async def test_events_that_arrive_during_a_commit_travel_together(pipeline: Pipeline) -> None:
    """Group commit without a timer: the second batch is all that gathered meanwhile."""
    first = pipeline.put(GOOD)
    async with pipeline.running():
        await asyncio.sleep(0)
        rest = [pipeline.put(GOOD) for _ in range(500)]
        assert await codes_of([first, *rest]) == [None] * 501
    assert pipeline.link.copies == 2


async def test_missing_table_refuses_without_dropping_silently_and_heals(
    pipeline: Pipeline, database_url: str
) -> None:
    """An operator's error is a 500 that says not stored; afterwards events are stored again."""
    await fetch(database_url, "ALTER TABLE events RENAME TO hidden")
    async with pipeline.running():
        assert await codes_of([pipeline.put(GOOD)]) == [Code.DATABASE_ERROR]
        assert pipeline.health.reason
        watch = asyncio.create_task(pipeline.health.watch())
        await fetch(database_url, "ALTER TABLE hidden RENAME TO events")
        while not pipeline.health.is_up:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        watch.cancel()
        assert await codes_of([pipeline.put(GOOD)]) == [None]
    assert await count(database_url) == 1


async def test_writer_that_is_cancelled_in_a_commit_answers_its_senders(
    pipeline: Pipeline,
) -> None:
    """Nobody is left waiting, and the answer doesn't say that nothing was stored."""
    async with pipeline.running():
        sender = pipeline.put(GOOD)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    refusal = await asyncio.wait_for(sender.fate, 1)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.DATABASE_ERROR
    assert "may or may not" in refusal.message


async def test_id_that_is_stored_already_costs_no_neighbour_anything(
    pipeline: Pipeline, database_url: str
) -> None:
    """A client that was told its id before the commit may have sent it again as its own."""
    event_id, _, received = ids.next()
    row = rows.row(rows.row_head(1), event_id, b"name", GOOD, received.row)
    await pipeline.link.copy(rows.document([row]), 1)
    known = Sender()
    pipeline.queue.put(row, known)
    neighbours = [pipeline.put(GOOD) for _ in range(10)]
    async with pipeline.running():
        assert await codes_of([known, *neighbours]) == [None] * 11
    assert pipeline.health.is_up
    assert await count(database_url) == 11
