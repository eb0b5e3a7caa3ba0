"""The dedup queue against a real Postgres and spool: each event is stored once, however sent."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import asyncpg
import orjson
import pytest
from structlog.testing import capture_logs

from ingest.delivery.dedup_writer import _MERGES, DedupWriter
from ingest.delivery.fallback import Fallback
from ingest.delivery.outcome import Ack, Duplicate, Outcome
from ingest.delivery.retries import Retries
from ingest.delivery.spill import Spill
from ingest.errors import Code, Refusal
from ingest.events import copy_format
from ingest.events.ids import moved
from ingest.spool import Spool
from ingest.store import failures
from ingest.store.failures import Outage, Unavailable
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres
from tests.delivery.surroundings import BAD, GOOD, Sender, Surroundings, count, ids, outcomes_of
from tests.store.events import until_true
from tests.support.postgres import fetch

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
INSERT = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    " VALUES (1, $1, 'a', '{}', now())"
)
TWO_WAIT = (
    "SELECT count(*) = 2 FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


class DedupSurroundings(Surroundings):
    """With the dedup queue's writer."""

    def __init__(self, postgres: Postgres, spool: Spool | None = None) -> None:
        super().__init__(postgres)
        fallback, retries = Fallback(spool, self.metrics), Retries(spool, self.metrics)
        self.spill = Spill(self.queue, fallback, retries)
        self.writer = DedupWriter(
            self.queue,
            self.link,
            self.health,
            fallback,
            self.metrics,
            retries=retries,
            partitions=Partitions(postgres, "month", 1),
        )

    def put(
        self,
        event_id: bytes | None = None,
        *,
        name: bytes = b"name",
        params: bytes = GOOD,
        key: bytes | None = None,
        created_at: datetime | None = None,
    ) -> Sender:
        """Queue an event; return who waits for it."""
        moment = created_at or datetime.now(UTC)
        tail = copy_format.tail((moment - EPOCH) // timedelta(microseconds=1), None, key)
        return self.put_row(event_id or ids.next()[0], name, params, tail)

    @property
    def balance(self) -> int:
        """Return what came in less what became of it."""
        metrics = self.metrics
        gone = metrics.committed_events + metrics.failed_events + metrics.duplicate_events
        return self.queue.accepted_events - gone - metrics.spooled_events


@pytest.fixture
def lane(postgres: Postgres) -> DedupSurroundings:
    """A lane without a spool on the test's database."""
    return DedupSurroundings(postgres)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    """A spool of the test's own."""
    opened = Spool(tmp_path, bytes_max=10**8, free_bytes_min=0, timeout_s=10)
    await opened.open()
    yield opened
    await opened.close()


async def outcome_of(sender: Sender) -> Outcome:
    """Return what one sender was told."""
    return (await outcomes_of([sender]))[0]


def row_of(outcome: Outcome) -> Any:  # noqa: ANN401 - any JSON value
    """Return the row that a duplicate is told."""
    assert isinstance(outcome, Duplicate)
    return orjson.loads(outcome.row)


async def test_new_events_cost_one_copy(lane: DedupSurroundings, database_url: str) -> None:
    """As in the other lane: nothing is merged before something was stored."""
    senders = [lane.put() for _ in range(500)]
    async with lane.running():
        assert await outcomes_of(senders) == [Ack.COMMITTED] * 500
    assert (lane.link.copies, lane.link.merges) == (1, 0)
    assert (await count(database_url), lane.balance) == (500, 0)


async def test_batches_behind_a_retry_are_merged_for_a_while(lane: DedupSurroundings) -> None:
    """Retries come in swarms; then new events go by COPY again."""
    event_id = ids.next()[0]
    async with lane.running():
        assert await outcome_of(lane.put(event_id)) is Ack.COMMITTED
        assert isinstance(await outcome_of(lane.put(event_id)), Duplicate)
        assert (lane.link.copies, lane.link.merges) == (2, 1)
        for _ in range(_MERGES + 3):
            assert await outcome_of(lane.put()) is Ack.COMMITTED
    assert (lane.link.copies, lane.link.merges) == (2 + 3, 1 + _MERGES)
    assert lane.balance == 0


async def test_batch_with_a_key_is_merged(lane: DedupSurroundings, database_url: str) -> None:
    """It has to be looked up; the event is stored under the id that it came with first."""
    key = b"k" * 16
    async with lane.running():
        first = ids.next()[0]
        assert await outcome_of(lane.put(first, key=key)) is Ack.COMMITTED
        assert row_of(await outcome_of(lane.put(key=key)))["id"].replace("-", "") == first.hex()
        assert await outcome_of(lane.put()) is Ack.COMMITTED
    assert lane.link.copies == 0
    assert (await count(database_url), lane.balance) == (2, 0)


async def test_same_event_twice_in_a_batch_is_the_first_of_them(
    lane: DedupSurroundings, database_url: str
) -> None:
    """Three of them, in a batch with others, by id and by key; each is told once."""
    event_id, key = ids.next()[0], b"y" * 16
    senders = [
        sender
        for name in (b"first", b"second", b"third")
        for sender in (lane.put(event_id, name=name), lane.put(name=name, key=key), lane.put())
    ]
    async with lane.running():
        outcomes = await outcomes_of(senders)
    assert [outcomes[at] for at in (0, 1, 2, 5, 8)] == [Ack.COMMITTED] * 5
    for at in (3, 4, 6, 7):
        assert row_of(outcomes[at])["event_name"] == "first"
    assert row_of(outcomes[3])["id"].replace("-", "") == event_id.hex()
    assert await count(database_url) == 5
    assert (lane.metrics.duplicate_events, lane.balance) == (4, 0)


async def test_all_of_one_event_share_the_fate_of_its_first(
    lane: DedupSurroundings, database_url: str
) -> None:
    """Refused, or stored before the batch: then all of them are retries."""
    bad, known = ids.next()[0], ids.next()[0]
    async with lane.running():
        assert await outcome_of(lane.put(known, name=b"known")) is Ack.COMMITTED
        refused = [lane.put(bad, params=BAD), lane.put(bad), lane.put(bad)]
        retries = [lane.put(known) for _ in range(3)]
        for outcome in await outcomes_of(refused):
            assert isinstance(outcome, Refusal)
            assert outcome.code is Code.REJECTED_BY_DATABASE
        assert [row_of(outcome)["event_name"] for outcome in await outcomes_of(retries)] == [
            "known"
        ] * 3
        assert await outcome_of(lane.put(bad)) is Ack.COMMITTED
    assert (await count(database_url), lane.balance) == (2, 0)


@pytest.mark.parametrize("place", [0, 1, 7, 15, 16])
async def test_bad_row_that_the_error_does_not_name_is_found_among_retries(
    lane: DedupSurroundings, database_url: str, place: int
) -> None:
    """By merging halves without committing; retries stay retries, and none is stored twice."""
    known = sorted(ids.next()[0] for _ in range(17))
    async with lane.running():
        assert await outcomes_of([lane.put(each) for each in known[::2]]) == [Ack.COMMITTED] * 9
        senders = [lane.put(each) for each in known]
        senders.insert(place, lane.put(params=BAD))
        with patch.object(failures, "_row_index", lambda *_: None):
            outcomes = await outcomes_of(senders)
    refused = outcomes.pop(place)
    assert isinstance(refused, Refusal)
    assert [isinstance(outcome, Duplicate) for outcome in outcomes] == [
        n % 2 == 0 for n in range(17)
    ]
    assert (await count(database_url), lane.balance) == (17, 0)


async def test_lanes_of_two_servers_do_not_deadlock(
    postgres: Postgres, lane: DedupSurroundings, database_url: str
) -> None:
    """They get the same events in opposite orders; somebody holds both up in the middle."""
    other = DedupSurroundings(postgres)
    sent = [ids.next()[0] for _ in range(301)]
    holder = await asyncpg.connect(database_url, timeout=10)
    holding = holder.transaction()
    await holding.start()
    await holder.execute(INSERT, UUID(bytes=sent[150]))
    async with lane.running(), other.running():
        here = [lane.put(each) for each in sent]
        there = [other.put(each) for each in reversed(sent)]
        await until_true(database_url, TWO_WAIT)
        await holding.rollback()
        outcomes = zip(await outcomes_of(here), (await outcomes_of(there))[::-1], strict=True)
        assert all({type(one), type(two)} == {Ack, Duplicate} for one, two in outcomes)
    await holder.close()
    assert await count(database_url) == 301
    assert (lane.balance, other.balance) == (0, 0)


async def test_event_of_the_past_has_its_partition_made(
    lane: DedupSurroundings, database_url: str
) -> None:
    """Before its row is sent."""
    event_id = moved(ids.next()[0], 1_600_000_000_000)
    async with lane.running():
        assert await outcome_of(lane.put(event_id)) is Ack.COMMITTED
    (row,) = await fetch(database_url, "SELECT tableoid::regclass::text AS name FROM events")
    assert row["name"] == "events_20200901_20200930"


def lose(lane: DedupSurroundings) -> None:
    """Let it be known that Postgres is away."""
    lane.health.report(Unavailable("away", stored=False, outage=Outage.AWAY))


async def test_retry_of_a_spooled_event_is_told_its_first_row(
    postgres: Postgres, spool: Spool
) -> None:
    """In the batches behind it, also through the spill, and when Postgres is back."""
    lane = DedupSurroundings(postgres, spool)
    event_id, key = ids.next()[0], b"z" * 16
    lose(lane)
    async with lane.running():
        first = [lane.put(event_id, name=b"first"), lane.put(name=b"first", key=key)]
        assert await outcomes_of(first) == [Ack.SPOOLED] * 2
        lane.health._recover()
        again = [lane.put(event_id), lane.put(key=key), lane.put()]
        outcomes = await outcomes_of(again)
    for outcome in outcomes[:2]:
        assert isinstance(outcome, Duplicate)
        assert (outcome.ack, row_of(outcome)["event_name"]) == (Ack.SPOOLED, "first")
    assert outcomes[2] is Ack.COMMITTED
    assert (spool.events, lane.balance) == (2, 0)


async def test_retry_in_a_batch_that_overflows_is_told_its_first_row(
    postgres: Postgres, spool: Spool
) -> None:
    """And is not spooled again; the others of its batch are, with their keys."""
    lane = DedupSurroundings(postgres, spool)
    event_id, other = ids.next()[0], ids.next()[0]
    lose(lane)
    async with lane.running():
        assert await outcome_of(lane.put(event_id, name=b"first")) is Ack.SPOOLED
    retry, twice = lane.put(event_id), [lane.put(other, name=b"twice") for _ in range(2)]
    senders = [retry, *twice, *(lane.put() for _ in range(7500))]
    overflowing = asyncio.create_task(lane.spill.run())
    outcomes = await outcomes_of(senders[:5000])
    overflowing.cancel()
    await asyncio.gather(overflowing, return_exceptions=True)
    assert [row_of(outcome)["event_name"] for outcome in (outcomes[0], outcomes[2])] == [
        "first",
        "twice",
    ]
    assert outcomes[1] is Ack.SPOOLED
    assert set(outcomes[3:]) == {Ack.SPOOLED}
    assert spool.events == 1 + 4998


@pytest.mark.parametrize(("hours", "is_retry"), [(0, True), (23, True), (25, False)])
async def test_key_in_the_spool_stands_for_another_event_the_next_day(
    postgres: Postgres,
    spool: Spool,
    hours: int,
    is_retry: bool,  # noqa: FBT001
) -> None:
    """Or a long outage would swallow what a client sends daily."""
    lane = DedupSurroundings(postgres, spool)
    key, now = b"d" * 16, datetime.now(UTC)
    lose(lane)
    async with lane.running():
        first = lane.put(key=key, created_at=now - timedelta(hours=hours))
        assert await outcome_of(first) is Ack.SPOOLED
        outcome = await outcome_of(lane.put(key=key, created_at=now))
    assert isinstance(outcome, Duplicate) is is_retry
    assert (spool.events, lane.balance) == (1 if is_retry else 2, 0)


async def test_spool_that_cannot_be_searched_holds_nobody_up(
    postgres: Postgres, spool: Spool, database_url: str
) -> None:
    """The event is stored; the replay of its first try finds it there."""
    lane = DedupSurroundings(postgres, spool)
    event_id = ids.next()[0]
    lose(lane)
    async with lane.running():
        assert await outcome_of(lane.put(event_id)) is Ack.SPOOLED
        lane.health._recover()
        await spool.close()
        assert spool.has_dedup_keys
        with capture_logs() as logs:
            assert await outcome_of(lane.put(event_id)) is Ack.COMMITTED
    assert [each["log_level"] for each in logs] == ["warning"]
    assert await count(database_url) == 1


class SlowSpool(Spool):
    """A spool whose search waits to be let go on."""

    going_on: asyncio.Event
    has_begun: asyncio.Event

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Say so, wait, and search."""
        self.has_begun.set()
        await self.going_on.wait()
        return await super().find(keys)


async def test_process_may_end_while_the_spool_is_searched(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Everybody is told once, that it is unknown; nothing fails over what was released."""
    spool = SlowSpool(tmp_path, bytes_max=10**8, free_bytes_min=0, timeout_s=10)
    spool.going_on, spool.has_begun = asyncio.Event(), asyncio.Event()
    await spool.open()
    lane = DedupSurroundings(postgres, spool)
    event_id = ids.next()[0]
    lose(lane)
    refusal = Refusal(Code.DATABASE_ERROR, "stopped")
    async with lane.running():
        assert await outcome_of(lane.put(event_id)) is Ack.SPOOLED
        senders = [lane.put(event_id), lane.put()]
        await asyncio.wait_for(spool.has_begun.wait(), 10)
        lane.queue.refuse_all(refusal)
        with capture_logs() as logs:
            spool.going_on.set()
            await asyncio.wait_for(lane.queue.drain(), 10)
    assert await outcomes_of(senders) == [refusal] * 2
    assert logs == []
    await spool.close()


async def test_writer_that_is_cancelled_in_a_merge_answers_its_senders(
    lane: DedupSurroundings,
) -> None:
    """First ones and those who follow them; it is not said that nothing was stored."""
    event_id = ids.next()[0]
    async with lane.running():
        senders = [lane.put(event_id, key=b"c" * 16) for _ in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)
    for outcome in await outcomes_of(senders):
        assert isinstance(outcome, Refusal)
        assert outcome.code is Code.DATABASE_ERROR
        assert "may or may not" in outcome.message
