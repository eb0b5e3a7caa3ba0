"""The writer against a real Postgres: one bad row costs its sender an answer and nobody else."""

import asyncio
import random
from unittest.mock import AsyncMock, patch

import pytest

from ingest.delivery.outcome import Ack
from ingest.errors import Code, Refusal
from ingest.events import copy_format
from ingest.spool import Spool
from ingest.store import failures
from ingest.store.failures import Outage, Unavailable
from ingest.store.link import CopyLink
from ingest.store.postgres import Postgres
from tests.delivery.rules import RULES, script
from tests.delivery.surroundings import (
    BAD,
    CHECK,
    GOOD,
    PlainSurroundings,
    Sender,
    count,
    ids,
    outcomes_of,
)
from tests.support.postgres import fetch, make_postgres


@pytest.fixture
def pipeline(postgres: Postgres) -> PlainSurroundings:
    """A writer without a spool on the test's database."""
    return PlainSurroundings(postgres)


async def codes_of(senders: list[Sender]) -> list[Code | None]:
    """Return what each sender was told."""
    outcomes = await outcomes_of(senders)
    return [outcome.code if isinstance(outcome, Refusal) else None for outcome in outcomes]


@pytest.mark.parametrize("bad", [0, 1, 2, 5, 10])
async def test_bad_rows_among_1000_cost_only_their_senders(
    pipeline: PlainSurroundings, database_url: str, bad: int
) -> None:
    """Their neighbours are committed, with one more COPY for each bad row, or sifted."""
    places = set(random.Random(bad).sample(range(1000), bad))
    senders = [pipeline.put(BAD if place in places else GOOD) for place in range(1000)]
    async with pipeline.running():
        codes = await codes_of(senders)
    refused = {place for place, code in enumerate(codes) if code is Code.REJECTED_BY_DATABASE}
    assert refused == places
    assert codes.count(None) == 1000 - bad == await count(database_url)
    assert pipeline.link.copies == min(1 + bad, 5)


async def test_batch_of_nothing_but_bad_rows_stores_nothing(
    pipeline: PlainSurroundings, database_url: str
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
    pipeline: PlainSurroundings, database_url: str, place: int
) -> None:
    """Without a line in the error's context it is found in halves; none is stored twice."""
    senders = [pipeline.put(BAD if each == place else GOOD) for each in range(17)]
    with patch.object(failures, "_row_index", lambda *_: None):
        async with pipeline.running():
            codes = await codes_of(senders)
    assert [each for each, code in enumerate(codes) if code] == [place]
    assert await count(database_url) == 16


async def test_rows_that_the_operator_s_check_refuses_are_spooled_and_their_neighbours_committed(
    own_url: str, spool: Spool
) -> None:
    """Also beside a bad row, whose sender is told; Postgres is not taken to be away."""
    await fetch(own_url, CHECK)
    pipeline = PlainSurroundings(make_postgres(own_url), spool)
    wrong, bad = {0, 7, 8, 20, 99}, 50
    senders = [
        pipeline.put(BAD if place == bad else GOOD, name=b"wrong" if place in wrong else b"name")
        for place in range(100)
    ]
    async with pipeline.running():
        outcomes = await outcomes_of(senders)
    assert {place for place, told in enumerate(outcomes) if told is Ack.SPOOLED} == wrong
    refusal = outcomes.pop(bad)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.REJECTED_BY_DATABASE
    assert outcomes.count(Ack.COMMITTED) == await count(own_url) == 100 - len(wrong) - 1
    assert spool.events == len(wrong)
    assert pipeline.health.is_up
    metrics = pipeline.metrics
    counted = (metrics.committed_events, metrics.spooled_events, metrics.failed_events)
    assert counted == (94, 5, 1)


@pytest.mark.parametrize("rule", [name for name in RULES if name != "data of the rule's"])
async def test_row_that_a_rule_refuses_costs_no_neighbour_its_200(
    own_url: str, spool: Spool, rule: str
) -> None:
    """Whatever Postgres says of it and whether it names it; Postgres is not taken to be away."""
    await script(own_url, RULES[rule][0])
    pipeline = PlainSurroundings(make_postgres(own_url), spool)
    wrong = {3, 30}
    senders = [pipeline.put(name=b"wrong" if at in wrong else b"name") for at in range(40)]
    async with pipeline.running():
        outcomes = await outcomes_of(senders)
    assert {at for at, told in enumerate(outcomes) if told is Ack.SPOOLED} == wrong
    assert outcomes.count(Ack.COMMITTED) == await count(own_url) == 38
    assert spool.events == 2
    assert pipeline.health.is_up
    assert RULES[rule][1] in pipeline.health.row_alarm.reason


async def test_rows_that_are_told_to_be_bad_by_the_hundred_cost_no_copy_each(
    own_url: str, spool: Spool
) -> None:
    """As where a trigger casts a parameter: each sender is told, after a few statements."""
    await script(own_url, RULES["data of the rule's"][0])
    pipeline = PlainSurroundings(make_postgres(own_url), spool)
    names = [b"wrong" if place % 2 else b"name" for place in range(1000)]
    async with pipeline.running():
        codes = await codes_of([pipeline.put(name=name) for name in names])
    assert codes == [None, Code.REJECTED_BY_DATABASE] * 500
    assert pipeline.link.copies + pipeline.link.sifts <= 12
    assert await count(own_url) == 500


async def test_rows_of_a_copy_that_lost_some_are_never_said_to_be_unstored(own_url: str) -> None:
    """What the others came to is not known when the question for them is not answered."""
    await script(own_url, RULES["dropped"][0])
    pipeline = PlainSurroundings(make_postgres(own_url))
    failing = Unavailable("no connection", stored=False, outage=Outage.AWAY)
    with patch.object(CopyLink, "missing", AsyncMock(side_effect=failing)):
        async with pipeline.running():
            told = await outcomes_of([pipeline.put(name=name) for name in (b"name", b"wrong")])
    assert [isinstance(each, Refusal) and "may or may not" in each.message for each in told] == [
        True,
        True,
    ]


async def test_many_such_rows_are_spooled_and_none_of_their_neighbours(
    own_url: str, spool: Spool
) -> None:
    """However many they are, the batch is sent a few times at most."""
    await fetch(own_url, CHECK)
    pipeline = PlainSurroundings(make_postgres(own_url), spool)
    names = [b"wrong" if place % 10 == 0 else b"name" for place in range(1000)]
    senders = [pipeline.put(name=name) for name in names]
    async with pipeline.running():
        outcomes = await outcomes_of(senders)
    expected = [Ack.SPOOLED if name == b"wrong" else Ack.COMMITTED for name in names]
    assert outcomes == expected
    assert pipeline.link.copies + pipeline.link.sifts <= 12
    assert (spool.events, await count(own_url)) == (100, 900)


async def test_row_that_the_operator_s_check_refuses_is_refused_without_a_spool(
    own_url: str,
) -> None:
    """There is nowhere to keep it: it is told not to be stored, and not to be bad."""
    await fetch(own_url, CHECK)
    pipeline = PlainSurroundings(make_postgres(own_url))
    senders = [pipeline.put(name=name) for name in (b"name", b"wrong", b"name")]
    async with pipeline.running():
        assert await codes_of(senders) == [None, Code.DATABASE_ERROR, None]
    (refusal,) = [told for told in await outcomes_of(senders) if isinstance(told, Refusal)]
    assert "was not stored" in refusal.message
    assert await count(own_url) == 2


async def test_events_that_arrive_during_a_commit_travel_together(
    pipeline: PlainSurroundings,
) -> None:
    """Group commit without a timer: the second batch is all that gathered meanwhile."""
    first = pipeline.put(GOOD)
    async with pipeline.running():
        await asyncio.sleep(0)
        rest = [pipeline.put(GOOD) for _ in range(500)]
        assert await codes_of([first, *rest]) == [None] * 501
    assert pipeline.link.copies == 2


async def test_missing_table_refuses_without_dropping_silently_and_heals(
    pipeline: PlainSurroundings, database_url: str
) -> None:
    """An operator's error is a 500 that says not stored; afterwards events are stored again."""
    await fetch(database_url, "ALTER TABLE events RENAME TO hidden")
    async with pipeline.running():
        assert await codes_of([pipeline.put(GOOD)]) == [Code.DATABASE_ERROR]
        assert pipeline.health.reason
        watch = asyncio.create_task(pipeline.health.run())
        await fetch(database_url, "ALTER TABLE hidden RENAME TO events")
        while not pipeline.health.is_up:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        watch.cancel()
        assert await codes_of([pipeline.put(GOOD)]) == [None]
    assert await count(database_url) == 1


async def test_writer_that_is_cancelled_in_a_commit_answers_its_senders(
    pipeline: PlainSurroundings,
) -> None:
    """Nobody is left waiting, and the answer doesn't say that nothing was stored."""
    async with pipeline.running():
        sender = pipeline.put(GOOD)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    refusal = await asyncio.wait_for(sender.outcome, 1)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.DATABASE_ERROR
    assert "may or may not" in refusal.message


async def test_id_that_is_stored_already_costs_no_neighbour_anything(
    pipeline: PlainSurroundings, database_url: str
) -> None:
    """A client that was told its id before the commit may have sent it again as its own."""
    event_id, _, received = ids.next()
    row = copy_format.row(copy_format.row_head(1), event_id, b"name", GOOD, received.row)
    await pipeline.link.copy(copy_format.document([row]), 1)
    known = Sender()
    pipeline.queue.put(row, known)
    neighbours = [pipeline.put(GOOD) for _ in range(10)]
    async with pipeline.running():
        assert await codes_of([known, *neighbours]) == [None] * 11
    assert pipeline.health.is_up
    assert await count(database_url) == 11
