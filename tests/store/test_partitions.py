"""Partitions: calendar ranges without overlap, made ahead, while events go on coming in."""

import asyncio
import itertools
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.ids import IdSequence
from ingest.store import migrations, partitions
from ingest.store.failures import Unavailable
from ingest.store.link import CopyLink
from ingest.store.partitions import Period, Range, first_id, name_of, period_of, plan
from tests.store.events import Event, copy, make_event_at, make_link, stored_ids
from tests.support.postgres import fetch, make_postgres

PERIODS: tuple[Period, ...] = ("month", "week", "day")
NOW = datetime(2026, 1, 10, 12, 30, tzinfo=UTC)


def day(text: str) -> datetime:
    """Return the first moment of a day."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def bare_url(empty_url: str) -> str:
    """A migrated database without a partition but the default one."""
    asyncio.run(migrations.migrate(make_postgres(empty_url)))
    return empty_url


async def homes(url: str) -> dict[UUID, str]:
    """Return the table in which each event lies."""
    found = await fetch(url, "SELECT id, tableoid::regclass::text AS home FROM events")
    return {UUID(str(row["id"])): row["home"] for row in found}


@pytest.mark.parametrize(
    ("moment", "period", "start", "end"),
    [
        ("2025-12-31T23:59:59.999999", "day", "2025-12-31", "2026-01-01"),
        ("2026-01-01T00:00:00", "day", "2026-01-01", "2026-01-02"),
        ("2028-02-29T12:00:00", "day", "2028-02-29", "2028-03-01"),
        ("2025-12-31T23:59:59.999999", "week", "2025-12-29", "2026-01-05"),
        ("2026-01-04T23:59:59.999999", "week", "2025-12-29", "2026-01-05"),
        ("2026-01-05T00:00:00", "week", "2026-01-05", "2026-01-12"),
        ("2025-12-31T23:59:59.999999", "month", "2025-12-01", "2026-01-01"),
        ("2026-01-31T00:00:00", "month", "2026-01-01", "2026-02-01"),
        ("2028-02-29T23:59:59", "month", "2028-02-01", "2028-03-01"),
        ("2027-02-28T23:59:59", "month", "2027-02-01", "2027-03-01"),
    ],
)
def test_period_is_a_calendar_period(moment: str, period: Period, start: str, end: str) -> None:
    """Also at the end of a year and on a leap day; a week starts on Monday."""
    assert period_of(day(moment), period) == Range(day(start), day(end))


def test_period_is_counted_in_utc() -> None:
    """Half past midnight in Berlin is still the day before."""
    berlin = datetime.fromisoformat("2026-02-01T00:30:00+01:00")
    assert period_of(berlin, "month") == Range(day("2026-01-01"), day("2026-02-01"))


def test_everything_missing_is_planned() -> None:
    """The period of now and as many more as are wanted ahead."""
    assert plan(NOW, "month", 2, []) == [
        Range(day("2026-01-01"), day("2026-02-01")),
        Range(day("2026-02-01"), day("2026-03-01")),
        Range(day("2026-03-01"), day("2026-04-01")),
    ]


@pytest.mark.parametrize("period", PERIODS)
def test_nothing_missing_plans_nothing(period: Period) -> None:
    """A second look finds nothing to do."""
    assert plan(NOW, period, 3, plan(NOW, period, 3, [])) == []


def test_switching_from_month_to_week_cuts_the_week_that_is_half_covered() -> None:
    """The months stay; weeks begin where they end."""
    months = plan(NOW, "month", 0, [])
    assert plan(NOW, "week", 4, months) == [
        Range(day("2026-02-01"), day("2026-02-02")),
        Range(day("2026-02-02"), day("2026-02-09")),
    ]


def test_switching_from_day_to_month_fills_the_gaps_around_the_days() -> None:
    """A month with days in its middle becomes two ranges."""
    days = plan(NOW, "day", 1, [])
    assert plan(NOW, "month", 0, days) == [
        Range(day("2026-01-01"), day("2026-01-10")),
        Range(day("2026-01-12"), day("2026-02-01")),
    ]


moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - as hypothesis wants them
starts = st.lists(st.tuples(moments, st.sampled_from(PERIODS), st.integers(1, 40)), max_size=6)


@given(starts)
def test_ranges_never_overlap_and_cover_what_is_ahead(
    found: list[tuple[datetime, Period, int]],
) -> None:
    """Whatever the periods of earlier starts were: no overlap, no gap, no name used twice."""
    existing: list[Range] = []
    for now, period, ahead in found:
        existing = sorted(existing + plan(now, period, ahead, existing))
        wanted = period_of(now, period)
        for _ in range(ahead):
            wanted = Range(wanted.start, period_of(wanted.end, period).end)
        days = (wanted.end - wanted.start).days
        covered = [wanted.start + timedelta(days=number, hours=1) for number in range(days)]
        holders = [[r for r in existing if r.start <= moment < r.end] for moment in covered]
        assert {len(held) for held in holders} == {1}
    assert all(left.end <= right.start for left, right in itertools.pairwise(existing))
    assert all(each.start < each.end for each in existing)
    assert len({name_of(each) for each in existing}) == len(existing)


@pytest.mark.parametrize("period", PERIODS)
async def test_ids_land_in_the_partition_of_their_time(
    bare_url: str, monkeypatch: pytest.MonkeyPatch, period: Period
) -> None:
    """Ids of the first and the last millisecond of a period, made as the server makes them."""
    await partitions.ensure(make_postgres(bare_url), period, 1)
    current = period_of(datetime.now(UTC), period)
    following = period_of(current.end, period)
    edges = {
        current.start: current,
        current.end - timedelta(milliseconds=1): current,
        current.end: following,
        following.end - timedelta(milliseconds=1): following,
    }
    expected = {}
    for moment, home in edges.items():
        clock = SimpleNamespace(time_ns=lambda now=moment: round(now.timestamp() * 1000) * 10**6)
        monkeypatch.setattr("ingest.pipeline.ids.time", clock)
        expected[UUID(bytes=IdSequence().next()[0])] = name_of(home)
    link = make_link(make_postgres(bare_url))
    await copy(link, *(make_event_at(event_id) for event_id in expected))
    await link.close()
    assert await homes(bare_url) == expected


def make_event_of(moment: datetime) -> Event:
    """Return an event whose id belongs to another time."""
    return make_event_at(UUID(int=first_id(moment).int + 1))


async def test_stray_is_stored_and_moves_when_its_partition_is_made(bare_url: str) -> None:
    """An id that no partition holds goes to events_default, and on from there, once."""
    postgres = make_postgres(bare_url)
    await partitions.ensure(postgres, "month", 1)
    in_three_months = datetime.now(UTC).replace(day=15) + timedelta(days=90)
    stray, ancient = make_event_of(in_three_months), make_event_of(day("2001-01-01"))
    link = make_link(postgres)
    await copy(link, stray, ancient)
    await link.close()
    assert await homes(bare_url) == {stray.id: "events_default", ancient.id: "events_default"}
    await partitions.ensure(postgres, "month", 4)
    home = name_of(period_of(in_three_months, "month"))
    assert await homes(bare_url) == {stray.id: home, ancient.id: "events_default"}


async def test_partitions_made_at_once_are_made_once(bare_url: str) -> None:
    """Servers that start together take turns."""
    await asyncio.gather(*(partitions.ensure(make_postgres(bare_url), "week", 5) for _ in range(4)))
    async with make_postgres(bare_url).session() as connection:
        ranges = await partitions.existing_ranges(connection)
    assert sorted(ranges) == plan(datetime.now(UTC), "week", 5, [])


@pytest.mark.parametrize("period", PERIODS)
async def test_partitions_of_every_period_fit_into_one_database(
    bare_url: str, period: Period
) -> None:
    """Changing `events.partition_by` and back makes what is missing, each time."""
    postgres = make_postgres(bare_url)
    for each in (period, *PERIODS, period):
        await partitions.ensure(postgres, each, 10)
        async with postgres.session() as connection:
            ranges = await partitions.existing_ranges(connection)
        assert plan(datetime.now(UTC), each, 10, ranges) == []


async def test_event_is_stored_while_a_partition_is_being_made(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything but the commit of a new partition is done: a batch does not wait for it."""
    postgres = make_postgres(own_url, commit_timeout_s=1.0)
    link = make_link(make_postgres(own_url))
    before = make_event_of(datetime.now(UTC))
    real_make = partitions._make

    async def make_and_insert(*arguments: object) -> None:
        await real_make(*arguments)  # type: ignore[arg-type] # handed on as they came
        if not await stored_ids_of_this_month(own_url):
            await copy(link, before)

    monkeypatch.setattr(partitions, "_make", make_and_insert)
    await partitions.ensure(postgres, "month", 6)
    await link.close()
    assert await stored_ids(own_url) == {before.id}


async def stored_ids_of_this_month(url: str) -> int:
    """Count events without touching the default partition, which is locked."""
    home = name_of(period_of(datetime.now(UTC), "month"))
    (row,) = await fetch(url, f"SELECT count(*) AS n FROM {home}")
    return int(row["n"])


async def was_stored(copying: Coroutine[Any, Any, None]) -> bool:
    """Return whether a copy succeeded; one that failed is to have stored nothing for certain."""
    try:
        await copying
    except Unavailable as failure:
        if failure.stored is False:
            return False
        raise
    return True


async def insert_until(stop: asyncio.Event, link: CopyLink, first: UUID) -> set[UUID]:
    """Insert one event after the other; one that was certainly not stored is sent again."""
    sent: set[UUID] = set()
    while not stop.is_set():
        event = make_event_at(UUID(int=first.int + len(sent) + 1))
        if await was_stored(copy(link, event)):
            sent.add(event.id)
    await link.close()
    return sent


async def test_partitions_are_made_while_events_come_in(bare_url: str) -> None:
    """Neither making them fails nor an event of this month; strays are stored and moved."""
    postgres = make_postgres(bare_url)
    await partitions.ensure(postgres, "month", 1)
    now, stop = datetime.now(UTC), asyncio.Event()
    soon = period_of(now, "month").end + timedelta(days=40)
    months = (now, soon, soon + timedelta(days=60))
    links = [make_link(postgres) for _ in months]
    inserting = [
        asyncio.create_task(insert_until(stop, link, first_id(month)))
        for link, month in zip(links, months, strict=True)
    ]
    for ahead in (3, 8, 24):
        await asyncio.sleep(0.1)
        await partitions.ensure(postgres, "month", ahead)
    stop.set()
    sent = await asyncio.gather(*inserting)
    lying = await homes(bare_url)
    assert lying.keys() == set().union(*sent)
    assert set(lying.values()) == {name_of(period_of(month, "month")) for month in months}
    assert all(sent)
