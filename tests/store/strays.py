"""What tests of partitions share: events of other times, where they lie, and who is in the way."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from ingest.store.link import CopyLink
from ingest.store.periods import first_id, name_of, period_of, unix_ms
from tests.store.events import Event, copy, make_event_at
from tests.support.postgres import fetch

_FILL = """
    INSERT INTO events_default (app_id, id, event_name, event_params, created_at)
    SELECT 1, (lpad(to_hex($1 + number), 12, '0') || '7000' || left(md5(number::text), 16))::uuid,
        'stray', '{}', now() FROM generate_series(0, $2::bigint - 1) AS number
"""
STRAYS = "SELECT count(*) FROM events_default"


_SHARD = re.compile(r"_1\d{5}$")
"""How the name of a shard ends, behind that of its table."""


def day(text: str) -> datetime:
    """Return the first moment of a day."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ms(text: str) -> int:
    """Return that moment in milliseconds since 1970."""
    return unix_ms(day(text))


def of_app(moments_ms: Iterable[int], app_id: int = 1) -> list[tuple[int, int]]:
    """Return moments as those of events of one app."""
    return [(app_id, moment_ms) for moment_ms in moments_ms]


def make_event_of(moment: datetime, number: int = 1) -> Event:
    """Return an event whose id belongs to another time."""
    return make_event_at(UUID(int=first_id(moment).int + number))


async def copy_of(link: CopyLink, *days: str) -> list[UUID]:
    """COPY one event of each day; return their ids."""
    events = [make_event_of(day(text), number + 1) for number, text in enumerate(days)]
    await copy(link, *events)
    return [event.id for event in events]


async def fill(url: str, text: str, count: int) -> None:
    """Put strays into the default partition, one of each millisecond from a day on."""
    await fetch(url, _FILL, ms(text), count)


async def homes(url: str) -> dict[UUID, str]:
    """Return the table in which each event lies."""
    found = await fetch(url, "SELECT id, tableoid::regclass::text AS home FROM events")
    return {UUID(str(row["id"])): _SHARD.sub("", row["home"]) for row in found}


async def partition_names(url: str) -> set[str]:
    """Return the table of each partition but the default one."""
    found = await fetch(
        url,
        "SELECT inhrelid::regclass::text AS home FROM pg_inherits"
        " WHERE inhparent = 'events'::regclass AND inhrelid <> 'events_default'::regclass",
    )
    return {row["home"] for row in found}


async def count_strays(url: str) -> int:
    """Return how many events are in the default partition."""
    return int((await fetch(url, STRAYS))[0][0])


async def make_days(url: str, text: str, count: int) -> None:
    """Make a partition of each day from one on, as fast as that goes."""
    starts = [day(text) + timedelta(days=number) for number in range(count)]
    wanted = [period_of(start, "day") for start in starts]
    statements = [
        f"CREATE TABLE {name_of(each)} PARTITION OF events"
        f" FOR VALUES FROM ('{first_id(each.start)}') TO ('{first_id(each.end)}')"
        for each in wanted
    ]
    connection = await asyncpg.connect(url, timeout=10)
    for start in range(0, count, 100):  # a transaction each: all in one would take too many locks
        await connection.execute("; ".join(statements[start : start + 100]))
    await connection.close()


@asynccontextmanager
async def holding(url: str, lock: str) -> AsyncIterator[None]:
    """Have somebody else run a statement in a transaction, and end it no sooner than this does."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute(lock)
            yield
    finally:
        await connection.close()
