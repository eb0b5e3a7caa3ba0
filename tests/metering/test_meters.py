"""The meters of a process: kept while keys are read anew, and forgotten with who had the limits."""

import asyncio
import threading
from collections.abc import Iterable
from contextlib import suppress

import pytest

from ingest.metering import meters as module
from ingest.metering.calendar import Calendar
from ingest.metering.meter import Meter, Subject
from ingest.metering.meters import Held, Meters
from ingest.metering.pair import Pair
from ingest.metering.rate_limits import RateLimits
from ingest.share.buckets import PLACES_MAX
from ingest.share.member import Member

APP, KEY = Subject(1), Subject(1, 5)
LIMITS = Held(RateLimits(events_per_second=10), "UTC")


async def hold(meters: Meters, wanted: dict[Subject, Held]) -> None:
    """Have subjects held to limits."""
    await meters.learn(wanted)
    meters.hold(wanted)


async def test_key_is_held_to_its_own_limits_and_its_app_s() -> None:
    """And to nobody else's; without any, to none."""
    meters = Meters(Member.alone())
    await hold(meters, {APP: LIMITS, KEY: LIMITS, Subject(2): Held(RateLimits(), "UTC")})
    assert isinstance(meters.of(1, 5), Pair)
    assert isinstance(meters.of(1, 6), Meter)
    assert isinstance(meters.of(1, 0), Meter)
    assert meters.of(2, 7) is None
    assert meters.of(3, 5) is None


async def test_what_was_used_is_known_after_keys_are_read_anew() -> None:
    """Where the limits are those of before, are others, or were away for a while."""
    meters = Meters(Member.alone())
    await hold(meters, {APP: LIMITS})
    found = meters.of(1, 0)
    assert found is not None
    assert found.take(100, 1)
    for wanted in ({APP: LIMITS}, {APP: LIMITS, KEY: LIMITS}, {}, {APP: LIMITS}):
        await hold(meters, wanted)
        again = meters.of(1, 0)
        assert again is None or not again.take(1, 1)


async def test_zones_are_those_of_the_apps() -> None:
    """Also one that nobody knows."""
    meters = Meters(Member.alone())
    limits = RateLimits(events_per_day=1)
    await hold(meters, {APP: Held(limits, "Asia/Tokyo"), Subject(2): Held(limits, "Mars/Olympus")})
    zones = {each.calendar.zone for each in meters.by_day}
    assert zones == {"Asia/Tokyo", "Mars/Olympus"}


async def test_disk_that_hangs_with_the_zones_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or no key could be revoked meanwhile; what it says at last counts."""
    goes_on = threading.Event()

    def hang(zones: Iterable[str]) -> dict[str, Calendar]:
        goes_on.wait()
        return {zone: Calendar(zone) for zone in zones}

    monkeypatch.setattr(module, "_calendars", hang)
    monkeypatch.setattr(module, "_READ_TIMEOUT_S", 0.01)
    meters = Meters(Member.alone())
    wanted = {APP: Held(RateLimits(events_per_day=1), "Asia/Tokyo")}
    try:
        for _ in range(3):
            await hold(meters, wanted)
        assert [each.calendar.zone for each in meters.by_day] == ["UTC"]
    finally:
        goes_on.set()
    monkeypatch.setattr(module, "_READ_TIMEOUT_S", 10.0)
    await hold(meters, wanted)
    assert [each.calendar.zone for each in meters.by_day] == ["Asia/Tokyo"]


async def test_beyond_its_places_each_process_has_an_even_part() -> None:
    """And no other server knows of these days."""
    member = Member.alone()
    meters = Meters(member)
    held = Held(RateLimits(events_per_second=10, events_per_day=100), "UTC")
    await hold(meters, {Subject(app): held for app in range(1, PLACES_MAX + 3)})
    assert len(meters.by_day) == PLACES_MAX
    last = meters.of(PLACES_MAX + 2, 0)
    assert last is not None
    assert [last.take(1, 1) for _ in range(11)] == [True] * 10 + [False]
    await hold(meters, {Subject(app): held for app in range(1, PLACES_MAX + 3)})
    again = meters.of(PLACES_MAX + 2, 0)
    assert again is not None
    assert not again.take(1, 1)


async def test_refused_requests_are_noted_once_a_second() -> None:
    """Where the page of the server's health reads them."""
    member = Member.alone()
    meters = Meters(member)
    await hold(meters, {APP: LIMITS})
    noting = asyncio.create_task(meters.run())
    found = meters.of(1, 0)
    assert found is not None
    assert found.take(100, 1)
    assert not found.take(1, 1)
    async with asyncio.timeout(10):
        while sum(each.refused for each in member.segment.buckets.told()) != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    noting.cancel()
    with suppress(asyncio.CancelledError):
        await noting
