"""Retries of events that wait in the spool: each is stored once, and told as it was sent first."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.delivery.outcome import Ack, Duplicate
from ingest.errors import Code, Refusal
from ingest.events import copy_format
from ingest.share.member import Member
from ingest.share.segment import Segment
from ingest.spool import Spool
from ingest.store.failures import Outage, Unavailable
from ingest.store.postgres import Postgres
from tests.delivery.surroundings import (
    BAD,
    CHECK,
    DedupSurroundings,
    count,
    ids,
    outcome_of,
    outcomes_of,
    row_of,
)
from tests.support.postgres import fetch, make_postgres


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


async def test_retry_that_reaches_another_process_is_told_its_first_row(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Of an event in the spool of one that lives beside it, for as long as it waits there."""
    segment = Segment.create(workers=2)
    members = [Member(segment, segment.take_slot(worker)) for worker in range(2)]
    first, second = (
        Spool(tmp_path, notes=each.key_notes, bytes_max=10**8, free_bytes_min=0, timeout_s=10)
        for each in members
    )
    await first.open()
    await second.open()
    here, there = DedupSurroundings(postgres, first), DedupSurroundings(postgres, second)
    event_id, key = ids.next()[0], b"y" * 16
    lose(here)
    async with here.running(), there.running():
        tries = [here.put(event_id, name=b"first"), here.put(name=b"first", key=key)]
        assert await outcomes_of(tries) == [Ack.SPOOLED] * 2
        for outcome in await outcomes_of([there.put(event_id), there.put(key=key)]):
            assert isinstance(outcome, Duplicate)
            assert (outcome.ack, row_of(outcome)["event_name"]) == (Ack.SPOOLED, "first")
        await first.remove(await first.oldest(10))
        assert await outcome_of(there.put(event_id)) is Ack.COMMITTED
    assert (second.events, there.balance) == (0, 0)
    await first.close()
    await second.close()


async def test_events_that_nobody_sends_again_are_not_searched_for(
    postgres: Postgres, spool: Spool
) -> None:
    """Or all others' retries would wait for the disk that they are spooled on."""
    lane = DedupSurroundings(postgres, spool)
    lose(lane)
    async with lane.running():
        assert await outcomes_of([lane.put() for _ in range(9)]) == [Ack.SPOOLED] * 9
        assert (spool.events, spool.has_dedup_keys) == (9, False)
        assert await outcomes_of([lane.put(), lane.put(key=b"z" * 16)]) == [Ack.SPOOLED] * 2
        assert (spool.events, spool.has_dedup_keys) == (11, True)


async def test_retry_of_an_event_that_was_spooled_out_of_its_batch_is_told_its_first_row(
    own_url: str, spool: Spool
) -> None:
    """A CHECK refused it, beside others of every kind; each goes by its own key all the same."""
    await fetch(own_url, CHECK)
    lane = DedupSurroundings(make_postgres(own_url), spool)
    wrong, known, key = ids.next()[0], ids.next()[0], b"w" * 16
    async with lane.running():
        assert await outcome_of(lane.put(known, name=b"known")) is Ack.COMMITTED
        others = [lane.put(known), *(lane.put() for _ in range(5)), lane.put(params=BAD)]
        first = [lane.put(wrong, name=b"wrong"), lane.put(key=key, name=b"wrong")]
        others += [lane.put() for _ in range(5)]
        assert await outcomes_of(first) == [Ack.SPOOLED] * 2
        stored, *new = await outcomes_of(others)
        refused = new.pop(5)
        again = await outcomes_of([lane.put(wrong), lane.put(key=key)])
    assert row_of(stored)["event_name"] == "known"
    assert isinstance(refused, Refusal)
    assert new == [Ack.COMMITTED] * 10
    for outcome in again:
        assert isinstance(outcome, Duplicate)
        assert (outcome.ack, row_of(outcome)["event_name"]) == (Ack.SPOOLED, "wrong")
    assert (spool.events, await count(own_url), lane.balance) == (2, 11, 0)


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


async def test_key_in_the_spool_is_known_on_each_day_of_an_outage(
    postgres: Postgres, spool: Spool, database_url: str
) -> None:
    """Not only on the first, or each retry would be spooled as well; and Postgres says the same."""
    lane = DedupSurroundings(postgres, spool)
    key, now = b"e" * 16, datetime.now(UTC)
    lose(lane)
    async with lane.running():
        for day in (3, 2, 1):
            first = lane.put(
                key=key, name=b"day %d" % day, created_at=now - timedelta(hours=25 * day)
            )
            assert await outcome_of(first) is Ack.SPOOLED
        for day in (1, 2, 3, 2):
            moment = now - timedelta(hours=25 * day - 1)
            outcome = await outcome_of(lane.put(key=key, created_at=moment))
            assert row_of(outcome)["event_name"] == f"day {day}"
    assert (spool.events, lane.balance) == (3, 0)
    rows = [row for batch in await spool.oldest(10) for row in batch.rows]
    await lane.link.merge(copy_format.document(rows), len(rows), has_keys=True)
    await lane.link.close()
    assert await count(database_url) == 3


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

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, list[bytes]]:
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
