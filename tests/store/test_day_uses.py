"""What was sent of limits by the day: added up in Postgres by all servers, and known to each."""

import asyncio
from datetime import date
from typing import Any

import pytest

from ingest.metering.meter import Meter, Subject
from ingest.metering.meters import Held, Meters
from ingest.metering.rate_limits import RateLimits
from ingest.share.member import Member
from ingest.store.day_uses import DayUses
from ingest.store.postgres import Postgres
from tests.support.limited import zone_at_noon
from tests.support.postgres import fetch, make_postgres

APP, KEY = Subject(3), Subject(3, 8)
LIMITS = RateLimits(events_per_day=100, bytes_per_day=999)
"""So small that nobody takes more ahead than is asked for."""


async def held(limits: RateLimits = LIMITS) -> Meters:
    """Return the meters of a server of one process: of an app and of a key."""
    meters, wanted = Meters(Member.alone()), dict.fromkeys((APP, KEY), Held(limits, zone_at_noon()))
    await meters.learn(wanted)
    meters.hold(wanted)
    return meters


def of(meters: Meters, subject: Subject) -> Meter:
    """Return one of them."""
    (found,) = (each for each in meters.by_day if each.subject == subject)
    return found


async def kept(url: str) -> list[tuple[Any, ...]]:
    """Return what Postgres has."""
    rows = await fetch(url, "SELECT app_id, key_id, events, bytes FROM limit_uses ORDER BY key_id")
    return [tuple(row) for row in rows]


async def test_what_is_let_in_is_added_and_nothing_twice(
    postgres: Postgres, database_url: str
) -> None:
    """Of app and key, events and bytes; where nothing is news, nothing is written."""
    meters = await held()
    uses = DayUses(postgres, meters)
    assert of(meters, APP).take(7, 70)
    await uses.settle()
    assert await kept(database_url) == [(3, 0, 7, 70)]
    assert of(meters, APP).take(1, 10)
    assert of(meters, KEY).take(2, 20)
    for _ in range(3):
        await uses.settle()
    assert await kept(database_url) == [(3, 0, 8, 80), (3, 8, 2, 20)]


async def test_server_that_starts_knows_what_the_day_has_had(
    postgres: Postgres, database_url: str
) -> None:
    """Before it has let in anything itself."""
    first = await held()
    assert of(first, APP).take(100, 1)
    await DayUses(postgres, first).settle()
    second = await held()
    await DayUses(postgres, second).settle()
    assert not of(second, APP).take(1, 1)
    assert of(second, KEY).take(1, 1)
    assert await kept(database_url) == [(3, 0, 100, 1)]


async def test_servers_share_a_day(postgres: Postgres, database_url: str) -> None:
    """Each of them lets in what is left of it, as of what they settled last."""
    servers = [await held(), await held()]
    uses = [DayUses(postgres, each) for each in servers]
    for _ in range(3):
        for meters, each in zip(servers, uses, strict=True):
            assert of(meters, APP).take(10, 1)
            await each.settle()
    assert await kept(database_url) == [(3, 0, 60, 6)]
    let_in = 0
    for _ in range(30):
        for meters, each in zip(servers, uses, strict=True):
            let_in += of(meters, APP).take(5, 1) * 5
            await each.settle()
    assert 40 <= let_in <= 45  # one knows what the other had let in when it settled last


async def test_who_sends_nothing_here_is_known_now_and_then(postgres: Postgres) -> None:
    """What others let in is read of all, if not each time."""
    first, second = await held(), await held()
    uses = [DayUses(postgres, each) for each in (first, second)]
    for each in uses:
        await each.settle()
    assert of(first, APP).take(100, 1)
    await uses[0].settle()
    for _ in range(5):
        await uses[1].settle()
    assert not of(second, APP).take(1, 1)


async def test_day_that_is_over_counts_no_more(postgres: Postgres, database_url: str) -> None:
    """And one that another server has begun is not taken back."""
    yesterday, tomorrow = (
        date.fromordinal(date.today().toordinal() + days)  # noqa: DTZ011 - a day or so
        for days in (-3, 3)
    )
    add = "INSERT INTO limit_uses VALUES (3, $1, $2, 100, 100)"
    await fetch(database_url, add, 0, yesterday)
    await fetch(database_url, add, 8, tomorrow)
    meters = await held()
    uses = DayUses(postgres, meters)
    await uses.settle()
    for subject in (APP, KEY):
        assert of(meters, subject).take(5, 50)
    await uses.settle()
    assert await kept(database_url) == [(3, 0, 5, 50), (3, 8, 100, 100)]
    assert of(meters, APP).place.units[0].used == 5


async def test_failure_delays_it_and_loses_nothing(own_url: str) -> None:
    """Nor is it a reason to end."""
    database_url, meters = own_url, await held()
    uses = DayUses(make_postgres(own_url), meters)
    refuse = "ALTER TABLE limit_uses ADD CONSTRAINT away CHECK (false) NOT VALID"
    await fetch(database_url, refuse)
    running = asyncio.create_task(uses.run())
    try:
        assert of(meters, APP).take(5, 50)
        await asyncio.sleep(0.2)
        assert not running.done()
        assert of(meters, APP).take(6, 60)
        await fetch(database_url, "ALTER TABLE limit_uses DROP CONSTRAINT away")
        async with asyncio.timeout(10):
            while await kept(database_url) != [(3, 0, 11, 110)]:  # noqa: ASYNC110 - another's
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("limits", [RateLimits(events_per_second=5), RateLimits()])
async def test_limits_by_the_second_are_nobody_else_s(
    postgres: Postgres, database_url: str, limits: RateLimits
) -> None:
    """Each server has them by itself, and Postgres is not asked."""
    meters = await held(limits)
    await DayUses(postgres, meters).settle()
    assert await kept(database_url) == []
