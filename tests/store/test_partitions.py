"""Partitions: made ahead and on demand, by several servers, and never a reason to refuse."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from ingest.events.ids import IdSequence
from ingest.store import attachment, migrations, partitions
from ingest.store.failures import Unavailable
from ingest.store.partition_map import existing_ranges
from ingest.store.partitions import Partitions
from ingest.store.periods import Period, Range, name_of, period_of, plan, unix_ms
from ingest.store.postgres import Connection
from tests.store.events import copy, make_event_at, make_link, until
from tests.store.strays import (
    copy_of,
    count_strays,
    day,
    fill,
    holding,
    homes,
    make_event_of,
    ms,
    of_app,
    partition_names,
)
from tests.support.postgres import fetch, make_postgres

PERIODS: tuple[Period, ...] = ("month", "week", "day")
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
READER = "SELECT count(*) FROM events"
MADE_IN = """
    SELECT DISTINCT xmin::text FROM pg_class WHERE relname LIKE 'events\\_2024%' AND relkind = 'r'
"""
"""The transactions that made partitions of 2024."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made at once is bounded by its number here, not by a busy machine."""
    monkeypatch.setattr(partitions, "_MAKE_S", 30.0)
    monkeypatch.setattr(partitions, "_BUSY_PAUSE_S", 0.0)
    monkeypatch.setattr(partitions, "_TURN_S", 4.0)


@pytest.fixture
def bare_url(empty_url: str) -> str:
    """A migrated database without a partition but the default one."""
    asyncio.run(migrations.migrate(make_postgres(empty_url)))
    return empty_url


def make_partitions(url: str, period: Period = "month", ahead: int = 1) -> Partitions:
    """Return what one server knows and makes."""
    return Partitions(make_postgres(url), period, ahead)


@pytest.mark.parametrize("period", PERIODS)
async def test_ids_land_in_the_partition_of_their_time(
    bare_url: str, monkeypatch: pytest.MonkeyPatch, period: Period
) -> None:
    """Ids of the first and the last millisecond of a period, made as the server makes them."""
    await make_partitions(bare_url, period).ensure()
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
        with monkeypatch.context() as then:
            then.setattr("ingest.events.ids.time", clock)
            expected[UUID(bytes=IdSequence().next()[0])] = name_of(home)
    link = make_link(make_postgres(bare_url))
    await copy(link, *(make_event_at(event_id) for event_id in expected))
    await link.close()
    assert await homes(bare_url) == expected


async def test_partitions_made_at_once_are_made_once(bare_url: str) -> None:
    """Servers that start together take turns."""
    await asyncio.gather(
        *(Partitions(make_postgres(bare_url), "week", 5).ensure() for _ in range(4))
    )
    async with make_postgres(bare_url).session() as connection:
        ranges = await existing_ranges(connection)
    assert sorted(ranges) == plan(datetime.now(UTC), "week", 5, [])


@pytest.mark.parametrize("period", PERIODS)
async def test_partitions_of_every_period_fit_into_one_database(
    bare_url: str, period: Period
) -> None:
    """Changing `events.partition_by` and back makes what is missing, each time."""
    for each in (period, *PERIODS, period):
        await make_partitions(bare_url, each, 10).ensure()
        async with make_postgres(bare_url).session() as connection:
            ranges = await existing_ranges(connection)
        assert plan(datetime.now(UTC), each, 10, ranges) == []


@pytest.mark.parametrize("period", PERIODS)
async def test_partition_of_the_past_is_made_before_its_events_are_sent(
    bare_url: str, period: Period
) -> None:
    """From the first to the last millisecond of the period, and not one more."""
    some = make_partitions(bare_url, period)
    wanted = period_of(day("2024-02-14"), period)
    first, behind = unix_ms(wanted.start), unix_ms(wanted.end)
    assert not some.covers(first)
    await some.make_for(of_app([ms("2024-02-14")]))
    covered = [some.covers(moment) for moment in (first - 1, first, behind - 1, behind)]
    assert covered == [False, True, True, False]
    link = make_link(make_postgres(bare_url))
    (stored,) = await copy_of(link, "2024-02-14")
    await link.close()
    assert await homes(bare_url) == {stored: name_of(wanted)}


async def test_only_some_partitions_are_made_at_once_and_the_rest_are_strays(bare_url: str) -> None:
    """Those of the most events first; nothing is refused, and the next call makes the others."""
    some = make_partitions(bare_url)
    months = [f"2024-{month:02}-01" for month in range(1, 13)]
    moments = [ms(month) for month in months] + [ms(month) for month in months[4:]]
    await some.make_for(of_app(moments))
    assert [some.covers(ms(month)) for month in months] == [False] * 4 + [True] * 8
    link = make_link(make_postgres(bare_url))
    await copy_of(link, *months)
    assert await count_strays(bare_url) == 4
    await some.make_for(of_app(moments))
    await link.close()
    assert await count_strays(bare_url) == 0
    assert len(set((await homes(bare_url)).values())) == 12


async def test_part_of_a_period_that_was_cut_is_filled(bare_url: str) -> None:
    """A month in which a week has a partition already, made under another setting."""
    await make_partitions(bare_url, "week").make_for(of_app([ms("2024-05-15")]))
    some = make_partitions(bare_url)
    await some.make_for(of_app([ms("2024-05-01")]))
    assert await partition_names(bare_url) == {
        "events_20240501_20240512",
        "events_20240513_20240519",
        "events_20240520_20240531",
    }
    assert all(some.covers(ms(f"2024-05-{number:02}")) for number in range(1, 32))
    assert len(await fetch(bare_url, MADE_IN)) == 3


async def test_part_of_a_period_that_is_filled_stays_when_another_can_t_be(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in use at once, and what it cost is counted."""
    await make_partitions(bare_url, "week").make_for(of_app([ms("2024-05-15")]))
    monkeypatch.setattr(attachment, "STRAYS_MAX", 10)
    await fill(bare_url, "2024-05-20", 11)
    some = Partitions(make_postgres(bare_url), "month", 1, per_hour_max=1)
    await some.make_for(of_app([ms("2024-05-01")]))
    assert some.covers(ms("2024-05-12"))
    assert not some.covers(ms("2024-05-20"))
    await some.make_for(of_app([ms("2024-01-01")]))
    assert not some.covers(ms("2024-01-01")), "the budget was spent"


async def test_no_part_of_a_period_is_begun_when_the_time_is_over(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch waits for it; the rest is made for the next one."""
    await make_partitions(bare_url, "week").make_for(of_app([ms("2024-05-15")]))
    some = make_partitions(bare_url)
    attach = attachment.attach

    async def attach_slowly(connection: Connection, wanted: Range) -> None:
        await attach(connection, wanted)
        await asyncio.sleep(0.2)

    with monkeypatch.context() as then:
        then.setattr(attachment, "attach", attach_slowly)
        then.setattr(partitions, "_MAKE_S", 0.1)
        await some.make_for(of_app([ms("2024-05-01")]))
    assert [some.covers(ms(f"2024-05-{number:02}")) for number in (12, 20)] == [True, False]
    await some.make_for(of_app([ms("2024-05-20")]))
    assert some.covers(ms("2024-05-31"))


async def test_partition_of_an_operator_s_without_bounds_is_known(bare_url: str) -> None:
    """An archive of everything old, and all that is to come."""
    await fetch(
        bare_url,
        "CREATE TABLE archive PARTITION OF events"
        " FOR VALUES FROM (MINVALUE) TO ('016f5e66-e800-0000-0000-000000000000')",  # 2020
    )
    some = make_partitions(bare_url)
    await some.ensure()
    assert [some.covers(ms(text)) for text in ("1999-01-01", "2019-12-31", "2020-01-01")] == [
        True,
        True,
        False,
    ]
    await some.make_for(of_app([ms("1999-01-01"), ms("2020-01-01")]))
    assert some.covers(ms("2020-01-31"))


async def test_what_is_covered_asks_nobody() -> None:
    """Before the first look, the time of now and ahead is taken for granted."""
    some = make_partitions(NOWHERE, ahead=1)
    now = datetime.now(UTC)
    covered = [unix_ms(now), unix_ms(period_of(now, "month").end)]
    assert all(map(some.covers, covered))
    await some.make_for(of_app(covered))
    await some.make_for([])


async def test_outage_is_reported_as_before_anything_was_sent() -> None:
    """So the caller's rows are certainly not stored."""
    with pytest.raises(Unavailable) as failed:
        await make_partitions(NOWHERE).make_for(of_app([ms("2024-01-01")]))
    assert failed.value.stored is False


async def test_silence_is_an_outage_before_anything_was_sent(bare_url: str) -> None:
    """Whatever became of the partition, the caller's rows are certainly not stored."""
    hasty = Partitions(make_postgres(bare_url, commit_timeout_s=0.5), "month", 1)
    async with holding(bare_url, f"SELECT pg_advisory_xact_lock({attachment.LOCK})"):
        with pytest.raises(Unavailable, match="no answer in time") as failed:
            await hasty.make_for(of_app([ms("2024-01-01")]))
    assert failed.value.stored is False


async def test_servers_that_need_the_same_partitions_at_once_take_turns(bare_url: str) -> None:
    """Each is made once, and every server knows all of them."""
    servers = [make_partitions(bare_url) for _ in range(4)]
    months = [ms(f"2024-{month:02}-01") for month in range(1, 9)]
    with capture_logs() as logs:
        await asyncio.gather(
            *(
                server.make_for(of_app(months[number:] + months))
                for number, server in enumerate(servers)
            )
        )
    assert all(server.covers(month) for server in servers for month in months)
    made = [entry["partition"] for entry in logs if entry["event"] == "partition made"]
    assert sorted(made) == sorted(await partition_names(bare_url))


async def test_partition_that_was_dropped_is_made_anew(bare_url: str) -> None:
    """Until it is noticed its events are strays."""
    some, link = make_partitions(bare_url), make_link(make_postgres(bare_url))
    await some.ensure()
    await some.make_for(of_app([ms("2024-01-01")]))
    await fetch(bare_url, "DROP TABLE events_20240101_20240131")
    await some.make_for(of_app([ms("2024-01-01")]))
    await copy_of(link, "2024-01-01")
    await link.close()
    assert await count_strays(bare_url) == 1
    await some.ensure()
    assert not some.covers(ms("2024-01-01"))
    await some.make_for(of_app([ms("2024-01-01")]))
    assert set((await homes(bare_url)).values()) == {"events_20240101_20240131"}


async def test_name_that_is_taken_leaves_a_period_to_the_default_partition(bare_url: str) -> None:
    """An operator detached a partition and keeps it: not tried again soon, and others are made."""
    some = make_partitions(bare_url)
    await fetch(bare_url, "CREATE TABLE events_20240101_20240131 ()")
    with capture_logs() as logs:
        for _ in range(2):
            await some.make_for(of_app([ms("2024-01-01"), ms("2024-02-01")]))
    assert [some.covers(ms(text)) for text in ("2024-01-01", "2024-02-01")] == [False, True]
    told = [entry for entry in logs if entry["event"] == "events stay in events_default"]
    assert [(entry["period"], entry["reason"]) for entry in told] == [
        ("events_20240101_20240131", "a table of that name is there already, SQLSTATE 42P07")
    ]


async def test_strays_are_gathered_into_partitions(bare_url: str) -> None:
    """However old they are, and whoever stored them; but not more of a period than are moved."""
    days = ("2001-01-01", "2024-02-29", "2024-03-01", "2024-03-31", "2031-12-31")
    some, link = make_partitions(bare_url), make_link(make_postgres(bare_url))
    await some.ensure()
    await copy_of(link, *days)
    await fill(bare_url, "2010-06-01", 10_001)
    await some.gather_strays()
    await link.close()
    found = [home for home in (await homes(bare_url)).values() if home != "events_default"]
    assert sorted(found) == [
        "events_20010101_20010131",
        "events_20240201_20240229",
        "events_20240301_20240331",
        "events_20240301_20240331",
        "events_20311201_20311231",
    ]
    assert await count_strays(bare_url) == 10_001
    assert not some.covers(ms("2010-06-01"))


async def test_outage_only_delays_the_watch(bare_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and tries again."""
    monkeypatch.setattr(partitions, "_RETRY_S", 0.01)
    some = make_partitions(NOWHERE)
    with capture_logs() as logs:
        watching = asyncio.create_task(some.run())
        await until(lambda: len(logs) >= 2)
        some._postgres = make_postgres(bare_url)
        link = make_link(some._postgres)
        await copy(link, make_event_of(day("2024-01-01")))
        await until(lambda: some.covers(ms("2024-01-01")))
        watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await link.close()
    assert await count_strays(bare_url) == 0
