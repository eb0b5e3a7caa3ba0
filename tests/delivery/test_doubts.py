"""A row that Postgres fails at without judging it is brought again before it is given up."""

import pytest

from ingest.delivery import doubts
from ingest.delivery.doubts import Doubts
from ingest.spool.batch import BatchRef
from tests.delivery.going import Going
from tests.delivery.rules import script, trigger
from tests.delivery.surroundings import CHECK, count, make_row, make_rows
from tests.support.postgres import fetch


def failing_times(times: int, sqlstate: str) -> str:
    """Return a script for a trigger that fails so often; a sequence counts failed tries as well."""
    fails = f"RAISE 'no' USING ERRCODE = '{sqlstate}';"
    return "CREATE SEQUENCE tries; " + trigger(
        f"IF nextval('tries') <= {times} THEN {fails} END IF;"
    )


@pytest.mark.parametrize("times", [2, 4])
async def test_event_that_postgres_fails_at_a_few_times_is_stored(
    going: Going, own_url: str, times: int
) -> None:
    """Alone and among others, on its COPY and on its sift; nobody has to retry it by hand."""
    await script(own_url, failing_times(times, "XX000"))
    await going.append([make_row(name=b"wrong")])
    await going.append([*make_rows(5), make_row(name=b"wrong")])
    async with going.running():
        await going.until_empty()
    assert await count(own_url) == 7
    assert await fetch(own_url, "SELECT FROM rejected_events") == []
    assert going.metrics.dead_lettered_events == 0


async def test_what_is_behind_an_event_in_doubt_does_not_wait_for_it(
    going: Going, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes."""
    monkeypatch.setattr(doubts, "_DOUBT_S", 600.0)
    await script(own_url, trigger("RAISE 'no' USING ERRCODE = 'XX000';"))
    await going.append([make_row(name=b"wrong")])
    await going.append(make_rows(20))
    async with going.running():
        await going.until_stored(20)
        await going.append(make_rows(5))
        await going.until_stored(25)
        await going.until(lambda: going.spool.events == 1)
    assert await fetch(own_url, "SELECT FROM rejected_events") == []


async def test_event_that_a_rule_judges_is_given_up_at_once(
    going: Going, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be judged alike the next time."""
    monkeypatch.setattr(doubts, "_DOUBT_S", 600.0)
    await fetch(own_url, CHECK)
    await going.append([make_row(name=b"wrong")])
    async with going.running():
        await going.until_empty()
    assert going.metrics.dead_lettered_events == 1


async def test_event_that_a_trigger_drops_is_given_up_at_once(
    going: Going, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trigger that puts it elsewhere does so with each try."""
    monkeypatch.setattr(doubts, "_DOUBT_S", 600.0)
    await fetch(own_url, "CREATE TABLE elsewhere (name text)")
    await script(own_url, trigger("INSERT INTO elsewhere VALUES ('it'); RETURN NULL;"))
    await going.append([make_row(name=b"wrong")])
    async with going.running():
        await going.until_empty()
    assert going.metrics.dead_lettered_events == 1
    assert len(await fetch(own_url, "SELECT FROM elsewhere")) == 1


def test_row_has_to_fail_often_and_for_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage in between lasts for as long as it likes."""
    some, ref = Doubts(), BatchRef("events.db", 1)
    monkeypatch.setattr(doubts, "_DOUBT_S", 0.0)
    assert [some.is_in_doubt(ref) for _ in range(4)] == [True, True, False, False]
    some.forget(ref)
    monkeypatch.setattr(doubts, "_DOUBT_S", 600.0)
    assert all(some.is_in_doubt(ref) for _ in range(10))


def test_so_many_batches_at_once_are_no_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory for them is bounded; who has settled makes room, and who has long not come."""
    monkeypatch.setattr(doubts, "_BATCHES_MAX", 2)
    some = Doubts()
    first, second, third = (BatchRef("events.db", number) for number in range(3))
    assert [some.is_in_doubt(each) for each in (first, second, third)] == [True, True, False]
    some.forget(first)
    assert some.is_in_doubt(third)
    assert not some.is_in_doubt(first)
    monkeypatch.setattr(doubts, "_FORGOTTEN_S", 0.0)
    assert some.is_in_doubt(first)
