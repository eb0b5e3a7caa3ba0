"""What is kept changes while events go: what was taken back stays."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from ingest.store import (
    expired_rows,
    retention,
)
from ingest.store.horizons import LOCK, Kept
from ingest.store.retention import Retention
from tests.store.retained import (
    NO_GRACE,
    ages,
    make_partition,
    one_round,
    store,
    troubles,
)
from tests.store.strays import holding, partition_names
from tests.support.postgres import fetch, make_postgres


@pytest.fixture
def url(two_apps_url: str) -> str:
    """Where everything happens."""
    return two_apps_url


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test waits for no pause."""
    monkeypatch.setattr(retention, "_TRY_PAUSE_S", 0.01)
    monkeypatch.setattr(retention, "_REST_S", 0.0)


async def test_less_than_before_begins_later_and_can_be_taken_back(url: str) -> None:
    """Also at first; and a longer time holds at once."""
    await store(url, [40])
    hour = timedelta(hours=1)
    await one_round(url, 30, grace=hour)
    assert await ages(url) == [40]
    await fetch(url, "UPDATE retention SET announced_at = now() - interval '1 hour'")
    await one_round(url, 50, grace=hour)
    await one_round(url, 30, grace=hour)  # which is announced anew
    assert await ages(url) == [40]
    await fetch(url, "UPDATE retention SET announced_at = now() - interval '1 hour'")
    await one_round(url, 30, grace=hour)
    assert await ages(url) == []


async def test_what_is_taken_back_while_rows_go_stays(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the next few rows on."""
    monkeypatch.setattr(expired_rows, "CHUNK_ROWS", 10)
    await store(url, [40], each=2_000)
    going = Retention(make_postgres(url), Kept(30, -1), NO_GRACE)
    task = asyncio.create_task(going.round())
    await until(lambda: going.figures.events > 0)
    await fetch(url, "UPDATE apps SET retain_days = 0 WHERE name = 'one'")
    await one_round(url, 30)
    left = len(await ages(url))
    await task
    assert len(await ages(url)) == left > 0


async def test_partition_of_which_something_is_taken_back_while_it_waits_stays(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the round that waits has read at first."""
    monkeypatch.setattr(retention, "_TRY_PAUSE_S", 0.3)
    name = await make_partition(url, 40)
    await store(url, [40])
    async with holding(url, "SELECT count(*) FROM events"):
        await asyncio.sleep(0.2)
        task = asyncio.create_task(one_round(url, 30))
        await until_moved(url)
        await fetch(url, "UPDATE apps SET retain_days = 0 WHERE name = 'one'")
        await one_round(url, 30)
    await task
    assert name in await partition_names(url)
    assert await ages(url) == [40]


async def test_partition_with_events_of_a_new_app_stays(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has said anything of it yet: it keeps all, and not what the others keep."""
    monkeypatch.setattr(retention, "_TRY_PAUSE_S", 0.3)
    name = await make_partition(url, 40)
    await store(url, [40])
    async with holding(url, "SELECT count(*) FROM events"):
        await asyncio.sleep(0.2)
        task = asyncio.create_task(one_round(url, 30))
        await until_moved(url)
        await fetch(url, "INSERT INTO apps (name, retain_days) VALUES ('three', 0)")
        await store(url, [40], app_id=3)
    await task
    assert name in await partition_names(url)
    assert await ages(url, 3) == [40]


async def test_round_ends_before_all_is_gone_to_hear_what_others_have_said(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wants all gone does several."""
    monkeypatch.setattr(expired_rows, "CHUNK_ROWS", 10)
    monkeypatch.setattr(retention, "_WORK_S", 0.01)
    monkeypatch.setattr(retention, "_DELETES_S", 0.01)
    await store(url, [40], each=50)
    figures = await one_round(url, 30)
    assert figures.has_more
    assert len(await ages(url)) == 50 - figures.events > 0
    going = Retention(make_postgres(url), Kept(30, -1), NO_GRACE)
    assert not (await going.finish()).has_more
    assert await ages(url) == []


async def test_horizon_that_has_not_moved_for_days_is_announced_first(url: str) -> None:
    """The clock may be wrong; it goes on when nobody has said so."""
    await store(url, [40])
    hour = timedelta(hours=1)
    await one_round(url, 50)
    await fetch(
        url,
        "UPDATE retention SET retain_days = 30, announced_at = now() - interval '100 days',"
        " moved_at = now() - interval '30 days'",
    )
    await one_round(url, 30, grace=hour)
    assert await ages(url) == [40]
    await fetch(url, "UPDATE retention SET announced_at = now() - interval '1 hour'")
    await one_round(url, 30, grace=hour)
    assert await ages(url) == []


async def test_trouble_is_told_no_more_when_nothing_is_to_go(url: str) -> None:
    """Whoever has taken it back has no trouble."""
    await store(url, [40])
    await one_round(url, 30, 0)
    assert await troubles(url)
    assert not (await one_round(url, 0)).is_waiting
    assert await troubles(url) == {}


async def test_days_may_be_more_than_there_are_since_1970(url: str) -> None:
    """Which is for ever, about."""
    await make_partition(url, 40)
    await store(url, [40])
    await one_round(url, 2**31 - 1, 2**31 - 1)
    assert await ages(url) == [40]


async def until_moved(url: str) -> None:
    """Wait until a round that is under way has moved the horizons."""
    while not await fetch(url, "SELECT FROM retention WHERE events_before IS NOT NULL"):  # noqa: ASYNC110 - another's
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that a round does."""
    while not is_so():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)


async def test_only_one_server_at_a_time_has_something_go(url: str) -> None:
    """The other one does nothing, and does not wait."""
    await store(url, [40])
    async with holding(url, f"SELECT pg_advisory_xact_lock({LOCK})"):
        await one_round(url, 30)
        assert await ages(url) == [40]
