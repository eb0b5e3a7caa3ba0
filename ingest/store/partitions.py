"""Partitions of the events table: ranges of id, so ranges of time, made before they are needed.

A partition is built as a table of its own and then attached, which blocks no insert but one into
`events_default`. Strays that the default partition caught in the meantime are moved over first.
"""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

import structlog

from ingest.store.failures import Unavailable
from ingest.store.postgres import Connection, Postgres

log = structlog.get_logger(__name__)

Period = Literal["month", "week", "day"]

_LOCK: Final = 0x6E6F_6E69_746F_0002  # "nonito", 2
_INTERVAL_S: Final = 3600.0
_RETRY_S: Final = 60.0
_TIMEOUT_S: Final = 30.0
_BOUNDS: Final = re.compile(r"FROM \('([0-9a-f-]{36})'\) TO \('([0-9a-f-]{36})'\)")


class Range(NamedTuple):
    """A half-open range of time."""

    start: datetime
    end: datetime


def first_id(moment: datetime) -> UUID:
    """Return the lowest UUIDv7-shaped id of a moment, as a bound between partitions."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def moment_of(bound: UUID) -> datetime:
    """Return the time that an id, or a bound, stands for."""
    return datetime.fromtimestamp((bound.int >> 80) / 1000, UTC)


def period_of(moment: datetime, period: Period) -> Range:
    """Return the calendar period (UTC; weeks start on Monday) that holds a moment."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return Range(day, day + timedelta(days=1))
        case "week":
            monday = day - timedelta(days=day.weekday())
            return Range(monday, monday + timedelta(days=7))
        case "month":
            first = day.replace(day=1)
            return Range(first, (first + timedelta(days=32)).replace(day=1))


def plan(now: datetime, period: Period, ahead: int, existing: list[Range]) -> list[Range]:
    """Return the ranges to make: the period of `now` and `ahead` more, less what exists.

    What exists may have been cut by another period, so a range may be a part of one.
    """
    wanted = []
    current = period_of(now, period)
    for _ in range(ahead + 1):
        wanted += _uncovered(current, existing)
        current = period_of(current.end, period)
    return wanted


def _uncovered(wanted: Range, existing: list[Range]) -> list[Range]:
    gaps = []
    start = wanted.start
    for taken in sorted(existing):
        if taken.end > start and taken.start < wanted.end:
            if taken.start > start:
                gaps.append(Range(start, taken.start))
            start = taken.end
    if start < wanted.end:
        gaps.append(Range(start, wanted.end))
    return gaps


def name_of(wanted: Range) -> str:
    """Return a partition's table name: its first and last day."""
    return f"events_{wanted.start:%Y%m%d}_{wanted.end - timedelta(days=1):%Y%m%d}"


async def ensure(postgres: Postgres, period: Period, ahead: int) -> None:
    """Make what is missing; servers that do so at once take turns. Raises Unavailable."""
    async with postgres.session(_TIMEOUT_S) as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        existing = await existing_ranges(connection)
        missing = plan(datetime.now(UTC), period, ahead, existing)
        if missing:
            # No stray may come in between being moved and attaching, which would then fail.
            await connection.execute("LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE")
        for wanted in missing:
            await _make(connection, wanted)


async def watch(postgres: Postgres, period: Period, ahead: int) -> None:
    """Make partitions ahead of time, for ever; an outage only delays it."""
    while True:
        made = await _try_ensure(postgres, period, ahead)
        await asyncio.sleep(_INTERVAL_S if made else _RETRY_S)


async def _try_ensure(postgres: Postgres, period: Period, ahead: int) -> bool:
    try:
        await ensure(postgres, period, ahead)
    except Unavailable as failure:
        log.warning("partitions could not be made ahead", reason=failure.reason)
        return False
    return True


async def existing_ranges(connection: Connection) -> list[Range]:
    """Return the ranges that partitions hold, without the default one."""
    rows = await connection.fetch(
        "SELECT pg_get_expr(child.relpartbound, child.oid) AS bounds"
        " FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
        " WHERE inhparent = 'events'::regclass"
    )
    found = (_BOUNDS.search(str(row["bounds"])) for row in rows)
    return [
        Range(*(moment_of(UUID(bound)) for bound in match.groups())) for match in found if match
    ]


async def _make(connection: Connection, wanted: Range) -> None:
    # Names and bounds are ours, made of digits: no parameter can stand in their place.
    name, low, high = name_of(wanted), first_id(wanted.start), first_id(wanted.end)
    await connection.execute(f"CREATE TABLE {name} (LIKE events INCLUDING ALL)")
    strays = await connection.execute(
        f"WITH strays AS (DELETE FROM events_default WHERE id >= '{low}' AND id < '{high}'"  # noqa: S608
        f" RETURNING *) INSERT INTO {name} SELECT * FROM strays"
    )
    await connection.execute(
        f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')"
    )
    log.info("partition made", partition=name, strays=int(strays.rsplit(" ", 1)[-1]))
