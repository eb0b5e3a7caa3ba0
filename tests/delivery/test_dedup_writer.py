"""The dedup queue against a real Postgres: each event is stored once, however it is sent."""

import asyncio
from unittest.mock import AsyncMock, patch
from uuid import UUID

import asyncpg
import pytest

from ingest.delivery.committer import MERGES
from ingest.delivery.outcome import Ack, Duplicate
from ingest.errors import Code, Refusal
from ingest.events.ids import moved
from ingest.spool import Spool
from ingest.store import failures
from ingest.store.postgres import Postgres
from tests.delivery.rules import script, trigger
from tests.delivery.surroundings import (
    BAD,
    EPOCH,
    CountingLink,
    DedupSurroundings,
    count,
    ids,
    outcome_of,
    outcomes_of,
    row_of,
)
from tests.store.events import until_true
from tests.support.postgres import fetch, make_postgres

INSERT = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    " VALUES (1, $1, 'a', '{}', now())"
)
DROPPING = trigger("RETURN NULL;").replace("'wrong'", "'name'")
TWO_WAIT = (
    "SELECT count(*) = 2 FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def lane(postgres: Postgres) -> DedupSurroundings:
    """A lane without a spool on the test's database."""
    return DedupSurroundings(postgres)


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
        for _ in range(MERGES + 3):
            assert await outcome_of(lane.put()) is Ack.COMMITTED
    assert (lane.link.copies, lane.link.merges) == (2 + 3, 1 + MERGES)
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
    """By sending halves; retries stay retries, and none is stored twice."""
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


@pytest.mark.not_on_citus("who waits for a lock waits on a node")
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


@pytest.mark.not_on_citus("a row tells the name of its shard")
async def test_event_of_the_past_has_its_partition_made(
    lane: DedupSurroundings, database_url: str
) -> None:
    """Before its row is sent."""
    event_id = moved(ids.next()[0], 1_600_000_000_000)
    async with lane.running():
        assert await outcome_of(lane.put(event_id)) is Ack.COMMITTED
    (row,) = await fetch(database_url, "SELECT tableoid::regclass::text AS name FROM events")
    assert row["name"] == "events_20200901_20200930"


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


@pytest.mark.not_on_citus("Citus has no triggers on distributed tables")
async def test_retry_by_key_is_told_the_stored_row_though_a_rule_fails_for_it_now(
    own_url: str, spool: Spool
) -> None:
    """It is sifted, and the trigger fails before Postgres can see that the event is there."""
    lane = DedupSurroundings(make_postgres(own_url), spool)
    first_id = ids.next()[0]
    async with lane.running():
        assert await outcome_of(lane.put(first_id, key=bytes(16))) is Ack.COMMITTED
        rule = trigger("PERFORM * FROM nowhere;").replace("'wrong'", "'name'")
        await script(own_url, rule)
        senders = [lane.put(key=bytes(16), params=b'{"b": 2}'), lane.put(), lane.put()]
        told, *others = await outcomes_of(senders)
    assert others == [Ack.SPOOLED] * 2
    assert row_of(told)["id"] == str(UUID(bytes=first_id))
    assert row_of(told)["event_params"] == {"a": 1}
    assert await count(own_url) == 1


@pytest.mark.not_on_citus("Citus has no triggers on distributed tables")
async def test_retry_is_told_the_stored_row_though_a_rule_drops_such_rows_in_silence_now(
    own_url: str, spool: Spool
) -> None:
    """It is dropped before Postgres can see that its key is taken; a new neighbour is no retry."""
    lane = DedupSurroundings(make_postgres(own_url), spool)
    first_id = ids.next()[0]
    async with lane.running():
        first = lane.put(first_id, created_at=EPOCH)
        assert await outcome_of(first) is Ack.COMMITTED
        await script(own_url, DROPPING)
        senders = [lane.put(first_id), lane.put(name=b"new"), lane.put()]
        told, *others = await outcomes_of(senders)
    assert others == [Ack.COMMITTED, Ack.SPOOLED]
    assert row_of(told)["created_at"] == "2000-01-01T00:00:00.000Z"
    assert (await count(own_url), lane.metrics.duplicate_events, lane.balance) == (2, 1, 0)


@pytest.mark.not_on_citus("Citus has no triggers on distributed tables")
async def test_rows_that_are_only_looked_up_are_never_said_to_be_unstored(own_url: str) -> None:
    """The COPY has stored what is looked up for the sake of a retry beside it."""
    lane = DedupSurroundings(make_postgres(own_url))
    first_id = ids.next()[0]
    failing = failures.Unavailable("no connection", stored=False, outage=failures.Outage.AWAY)
    async with lane.running():
        assert await outcome_of(lane.put(first_id)) is Ack.COMMITTED
        await script(own_url, DROPPING)
        with patch.object(CountingLink, "sift", AsyncMock(side_effect=failing)):
            told = await outcomes_of([lane.put(first_id), lane.put(name=b"new")])
    assert all(isinstance(each, Refusal) and "may or may not" in each.message for each in told)
    assert await count(own_url) == 2


@pytest.mark.not_on_citus("Citus has no triggers on distributed tables")
async def test_rule_that_drops_new_rows_alone_has_nothing_looked_up(
    own_url: str, spool: Spool
) -> None:
    """What is there is as much as was stored."""
    await script(own_url, DROPPING)
    lane = DedupSurroundings(make_postgres(own_url), spool)
    async with lane.running():
        told = await outcomes_of([lane.put(name=b"new"), lane.put()])
    assert told == [Ack.COMMITTED, Ack.SPOOLED]
    assert (lane.link.copies, lane.link.sifts) == (1, 0)
