"""Locks of a partition in the making: who waits for whom, and for how long at most."""

import asyncio
import math
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from ingest.store import attachment, migrations, partitions
from ingest.store.failures import RowRefused, Unavailable
from ingest.store.link import CopyLink
from ingest.store.partitions import Partitions
from ingest.store.periods import Range, first_id, name_of, period_of
from tests.store.events import copy, make_event, make_event_at, make_link, until_true
from tests.store.strays import (
    copy_of,
    count_strays,
    day,
    fill,
    holding,
    homes,
    ms,
    of_app,
    partition_names,
)
from tests.support.postgres import make_postgres

JANUARY = Range(day("2024-01-01"), day("2024-02-01"))
READER = "SELECT count(*) FROM events"
WAITING = (
    "SELECT EXISTS (SELECT FROM pg_locks"
    " WHERE NOT granted AND relation = 'events_default'::regclass)"
)


@pytest.fixture
def bare_url(empty_url: str) -> str:
    """A migrated database with partitions of this month and the next."""
    asyncio.run(migrations.migrate(make_postgres(empty_url)))
    asyncio.run(make_partitions(empty_url).ensure())
    return empty_url


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was in the way is tried again at once: a test waits until it is done."""
    monkeypatch.setattr(partitions, "_BUSY_PAUSE_S", 0.0)
    monkeypatch.setattr(partitions, "_SLOW_PAUSE_S", 0.0)


def make_partitions(url: str, ahead: int = 1) -> Partitions:
    """Return what one server knows and makes."""
    return Partitions(make_postgres(url), "month", ahead)


async def test_only_strays_wait_until_a_new_partition_is_committed(bare_url: str) -> None:
    """Everything but the COMMIT is done: current events are stored, and a stray after it."""
    links = [make_link(make_postgres(bare_url)) for _ in range(2)]
    current = make_event()
    async with make_postgres(bare_url).session() as connection, attachment.turn(connection):
        await attachment.attach(connection, JANUARY)
        await copy(links[0], current)
        stray = asyncio.create_task(copy_of(links[1], "2001-01-01"))
        await until_true(bare_url, WAITING)
        assert not stray.done()
    (stray_id,) = await stray
    assert await homes(bare_url) == {
        current.id: name_of(period_of(datetime.now(UTC), "month")),
        stray_id: "events_default",
    }
    for link in links:
        await link.close()


async def test_event_whose_partition_is_attached_while_it_waits_can_be_sent_again(
    bare_url: str,
) -> None:
    """Postgres refuses it for the moment, by the default partition's own bounds."""
    link = make_link(make_postgres(bare_url))
    async with make_postgres(bare_url).session() as connection, attachment.turn(connection):
        await attachment.attach(connection, JANUARY)
        sending = asyncio.create_task(copy_of(link, "2024-01-15"))
        await until_true(bare_url, WAITING)
    with pytest.raises(RowRefused) as failed:
        await sending
    assert (failed.value.is_told, failed.value.is_doubtful) == (False, True)
    error = failed.value.__cause__
    assert isinstance(error, asyncpg.CheckViolationError)
    assert (error.constraint_name, error.table_name) == (None, "events_default")
    (stored,) = await copy_of(link, "2024-01-15")
    await link.close()
    assert await homes(bare_url) == {stored: name_of(JANUARY)}


async def test_lock_of_a_server_that_hangs_is_let_go(bare_url: str) -> None:
    """It attached, and says nothing more: Postgres ends its session, and the stray is stored."""
    link = make_link(make_postgres(bare_url))

    async def hang() -> None:
        async with make_postgres(bare_url).session() as connection, attachment.turn(connection):
            await attachment.attach(connection, JANUARY)
            await copy_of(link, "2024-01-15")

    with pytest.raises(Unavailable):
        await hang()
    await link.close()
    assert await count_strays(bare_url) == 1
    assert name_of(JANUARY) not in await partition_names(bare_url)


async def test_lock_is_not_waited_for_in_front_of_others(bare_url: str) -> None:
    """A stray behind the one who asks for the lock is stored although the lock is never free."""
    link = make_link(make_postgres(bare_url))

    async def make() -> None:
        async with make_postgres(bare_url).session() as connection, attachment.turn(connection):
            await attachment.attach(connection, JANUARY)

    async with holding(bare_url, READER):
        making = asyncio.create_task(make())
        await until_true(bare_url, WAITING)
        await copy_of(link, "2001-01-01")
        with pytest.raises(Unavailable, match="somebody else holds a lock"):
            await making
    await link.close()
    assert await count_strays(bare_url) == 1


async def test_reader_of_the_default_partition_makes_strays_and_no_failure(bare_url: str) -> None:
    """Such as a dump: nothing waits for its end, and it is not asked again with every batch."""
    some, link = make_partitions(bare_url), make_link(make_postgres(bare_url))
    await some.ensure()
    async with holding(bare_url, READER):
        with capture_logs() as logs:
            for text in ("2024-01-01", "2024-02-01", "2024-03-01"):
                await some.make_for(of_app([ms(text)]))
                await copy_of(link, text)
    assert len([entry for entry in logs if "somebody holds a lock" in entry["event"]]) == 1
    assert await count_strays(bare_url) == 3
    some._held_up_until_s = -math.inf
    await some.make_for(of_app([ms("2024-02-01")]))
    await link.close()
    assert await count_strays(bare_url) == 2


async def test_events_are_stored_while_a_lock_is_waited_for(bare_url: str) -> None:
    """Current ones, and strays that queue up behind the one who waits."""
    some, postgres = make_partitions(bare_url), make_postgres(bare_url)
    await some.ensure()
    links = [make_link(postgres) for _ in range(2)]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    async with holding(bare_url, READER):
        making = asyncio.create_task(some.make_for(of_app([ms("2024-01-01")])))
        await asyncio.gather(copy_of(links[0], today), copy_of(links[1], "2001-01-01"), making)
    for link in links:
        await link.close()
    assert sorted((await homes(bare_url)).values()) == sorted(
        ["events_default", name_of(period_of(datetime.now(UTC), "month"))]
    )


@pytest.mark.usefixtures("eager")
async def test_100_000_strays_stay_where_they_are_and_hold_nobody_up(bare_url: str) -> None:
    """A month with too many is left, others are made beside it, and all events go on."""
    await fill(bare_url, "2024-01-10", 100_000)
    some, stop = make_partitions(bare_url), asyncio.Event()
    inserting = [
        asyncio.create_task(insert_until(stop, make_link(make_postgres(bare_url)), first_id(start)))
        for start in (datetime.now(UTC), day("2023-01-10"))
    ]
    others = [ms(text) for text in ("2023-01-10", "2023-12-10", "2024-02-10")]
    with capture_logs() as logs:
        while not all(map(some.covers, others)):
            await some.make_for(of_app([ms("2024-01-10"), *others]))
            await some.gather_strays()
    stop.set()
    sent = await asyncio.gather(*inserting)
    left = [entry["period"] for entry in logs if entry["event"] == "events stay in events_default"]
    assert left.count(name_of(JANUARY)) == 1
    assert not some.covers(ms("2024-01-10"))
    lying = await homes(bare_url)
    assert len(lying) == 100_000 + sum(map(len, sent))
    assert set().union(*sent) <= lying.keys()
    assert await count_strays(bare_url) == 100_000


async def was_stored(copying: Coroutine[Any, Any, None]) -> bool:
    """Return whether a copy succeeded; one that failed is to have stored nothing for certain."""
    try:
        await copying
    except RowRefused as refused:
        if refused.is_doubtful:
            return False
        raise
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


@pytest.mark.usefixtures("eager")
async def test_partitions_are_made_while_events_come_in(bare_url: str) -> None:
    """Neither making them fails nor an event; strays are stored once, and moved."""
    now, stop = datetime.now(UTC), asyncio.Event()
    soon = period_of(now, "month").end + timedelta(days=40)
    moments = (now, soon, soon + timedelta(days=60), day("2024-01-15"))
    inserting = [
        asyncio.create_task(insert_until(stop, make_link(make_postgres(bare_url)), first_id(start)))
        for start in moments
    ]
    some = make_partitions(bare_url, 24)
    await asyncio.sleep(0.1)  # some are strays
    while not some.covers(ms("2024-01-15")):
        await some.make_for(of_app([ms("2024-01-15")]))
    while len(await partition_names(bare_url)) < 26:
        await some.ensure()
    stop.set()
    sent = await asyncio.gather(*inserting)
    lying = await homes(bare_url)
    assert lying.keys() == set().union(*sent)
    assert set(lying.values()) == {name_of(period_of(moment, "month")) for moment in moments}
    assert all(sent)
