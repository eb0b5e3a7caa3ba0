"""Partitions of the events table: ranges of id, so ranges of time.

Those of now and of the time ahead are made before they are needed, those of the past when somebody
sends an event of that time. What has no partition is in `events_default`, as a stray: stored like
any other, and brought into a partition later if that holds nobody up. That a partition can't be
made is never a reason not to take an event.
"""

import asyncio
import math
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg
import structlog

from ingest.store import attachment
from ingest.store.attachment import DefaultTooLarge, PartitionDeferred
from ingest.store.failures import Unavailable
from ingest.store.partition_map import DAY_MS, PartitionMap
from ingest.store.periods import (
    MOMENT_MAX,
    Period,
    Range,
    moment_at,
    moment_of,
    name_of,
    period_of,
    plan,
    uncovered,
)
from ingest.store.postgres import Connection, Postgres

log = structlog.get_logger(__name__)

Attach: TypeAlias = Callable[[Connection, Range], Awaitable[list[Range]]]
"""Makes what is missing of a range; returns all ranges there are then."""

_INTERVAL_S: Final = 300.0
_RETRY_S: Final = 60.0
_TIMEOUT_S: Final = 30.0
_MAKE_MAX: Final = 8
_MAKE_S: Final = 1.0
_GATHER_MAX: Final = 64
_GATHER_PAUSE_S: Final = 0.2
_BUSY_PAUSE_S: Final = 10.0
_SLOW_PAUSE_S: Final = 300.0
_LEFT_PAUSE_S: Final = 3600.0
_LEFT_MAX: Final = 4096
_TURN_S: Final = 1.0
_AHEAD_TURN_S: Final = 10.0
# The session ended, the server takes no writes, has no room, is stopping, or its disk fails.
_OUTAGE_CLASSES: Final = ("08", "25", "53", "57P", "58")
_BOUNDS: Final = re.compile(
    r"FROM \((?:MINVALUE|'([0-9a-f-]{36})')\) TO \((?:MAXVALUE|'([0-9a-f-]{36})')\)"
)


class Partitions:
    """What one server knows of the partitions, and what it makes of them."""

    def __init__(self, postgres: Postgres, period: Period, ahead: int) -> None:
        self._postgres = postgres
        self._period = period
        self._ahead = ahead
        self.map = PartitionMap()
        """What is known to be there."""
        # Until the first look: what `ensure` sees to before the first COPY.
        self.map.learn(plan(datetime.now(UTC), period, ahead, []))
        self._left_until_s: dict[Range | None, float] = {}
        """Ranges that stay with the default partition, and when to try again; None is all but now
        and the time ahead."""
        self._held_up_until_s = -math.inf
        """When to try again after somebody held a lock."""

    def covers(self, unix_ms: int) -> bool:
        """Return whether a partition of its own is known for a time; if wrong, a row is a stray."""
        return self.map.covers(unix_ms)

    async def ensure(self) -> None:
        """Look what there is, and make what is missing of now and ahead; raise Unavailable.

        What can't be made without holding up events is logged and left to another time.
        """
        async with self._postgres.session(_TIMEOUT_S) as connection:
            with self._judging(None):
                await attachment.drop_proofs(connection)
            existing = await existing_ranges(connection)
            self.map.learn(existing)
            wanted = plan(datetime.now(UTC), self._period, self._ahead, existing)
            await self._make(connection, filter(self._is_due, wanted), _attach_ahead)

    async def make_for(self, moments_ms: Collection[int]) -> None:
        """Make the partitions that hold these times, before rows of theirs are sent.

        Eight at most, those of the most moments first, and none is begun after a second: rows of
        the rest are strays. Raises Unavailable, with `stored` false, in an outage only.
        """
        wanted = self._missing(moments_ms)[:_MAKE_MAX]
        if not wanted:
            return
        end_s = time.monotonic() + _MAKE_S
        try:
            async with self._postgres.session() as connection:
                due = filter(self._may_be_made, wanted)
                await self._make(connection, due, _attach_on_demand, end_s)
        except Unavailable as failure:
            raise _before_sending(failure) from failure

    async def gather_strays(self) -> None:
        """Bring strays into partitions, one range after the other; raise Unavailable."""
        async with self._postgres.session(_TIMEOUT_S) as connection:
            for wanted in (await self._ranges_of_strays(connection))[:_GATHER_MAX]:
                if self._may_be_made(wanted):
                    await self._make(connection, [wanted], _attach_on_demand)
                    await asyncio.sleep(_GATHER_PAUSE_S)  # whoever waited goes first

    async def run(self) -> None:
        """Make partitions ahead and gather strays, for ever; an outage only delays it."""
        while True:
            pause_s = _INTERVAL_S if await self._look_after() else _RETRY_S
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def _look_after(self) -> bool:
        """Make what is due, gather strays; return whether nobody was in the way."""
        try:
            await self.ensure()
            await self.gather_strays()
        except Unavailable as failure:
            log.warning("partitions could not be made ahead", reason=failure.reason)
            return False
        return not self._is_held_up

    async def _ranges_of_strays(self, connection: Connection) -> list[Range]:
        days: list[int] = []
        if self._is_due(None):
            with self._judging(None):
                days = await attachment.stray_days(connection)
        periods = dict.fromkeys(self._period_at(day * DAY_MS) for day in days)
        return list(filter(self._may_be_made, periods))

    async def _make(
        self,
        connection: Connection,
        wanted: Iterable[Range],
        attach: Attach,
        end_s: float = math.inf,
    ) -> None:
        """Make partitions until somebody is in the way or the time is over."""
        for each in wanted:
            if self._is_held_up or time.monotonic() >= end_s:
                return
            with self._judging(each):
                self.map.learn(await attach(connection, each))

    @contextmanager
    def _judging(self, wanted: Range | None) -> Iterator[None]:
        """Note why something was not done, and when to try it again; raise what is an outage."""
        try:
            yield
        except DefaultTooLarge as left:
            self._leave(None, _LEFT_PAUSE_S, str(left))
        except PartitionDeferred as left:
            self._leave(wanted, _LEFT_PAUSE_S, str(left))
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            self._held_up_until_s = time.monotonic() + _BUSY_PAUSE_S
            log.warning(
                "no partition is made for a while: somebody holds a lock", reason=_reason(error)
            )
        except asyncpg.QueryCanceledError as error:
            self._leave(wanted, _SLOW_PAUSE_S, _reason(error))
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "08").startswith(_OUTAGE_CLASSES):
                raise
            self._leave(wanted, _LEFT_PAUSE_S, _reason(error))

    def _leave(self, wanted: Range | None, pause_s: float, reason: str) -> None:
        if len(self._left_until_s) >= _LEFT_MAX:
            self._left_until_s.clear()
        self._left_until_s[wanted] = time.monotonic() + pause_s
        period = name_of(wanted) if wanted else "the past"
        log.warning("events stay in events_default", period=period, reason=reason)

    def _is_due(self, wanted: Range | None) -> bool:
        return time.monotonic() >= self._left_until_s.get(wanted, -math.inf)

    def _may_be_made(self, wanted: Range) -> bool:
        return not self._is_held_up and self._is_due(None) and self._is_due(wanted)

    @property
    def _is_held_up(self) -> bool:
        return time.monotonic() < self._held_up_until_s

    def _missing(self, moments_ms: Collection[int]) -> list[Range]:
        """Return the periods of moments without a partition, those of the most moments first."""
        days = Counter(ms // DAY_MS for ms in moments_ms if not self.covers(ms))
        periods: Counter[Range] = Counter()
        for day, count in days.items():
            periods[self._period_at(day * DAY_MS)] += count
        return [each for each, _ in periods.most_common() if self._may_be_made(each)]

    def _period_at(self, ms: int) -> Range:
        return period_of(moment_at(ms), self._period)


async def existing_ranges(connection: Connection) -> list[Range]:
    """Return the ranges that partitions hold, without the default one."""
    rows = await connection.fetch(
        "SELECT pg_get_expr(child.relpartbound, child.oid) AS bounds"
        " FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
        " WHERE inhparent = 'events'::regclass"
    )
    found = (_BOUNDS.search(str(row["bounds"])) for row in rows)
    return [_range_between(*match.groups()) for match in found if match]


def _range_between(low: str | None, high: str | None) -> Range:
    """Return the range between two bounds as Postgres writes them; None is no bound."""
    return Range(
        moment_of(UUID(low)) if low else moment_at(0),
        moment_of(UUID(high)) if high else MOMENT_MAX,
    )


async def _attach_on_demand(connection: Connection, wanted: Range) -> list[Range]:
    """Make what is missing of a range, unless that holds up events.

    Raises PartitionDeferred or PostgresError.
    """
    return await _attach(connection, wanted, _TURN_S)


async def _attach(connection: Connection, wanted: Range, wait_s: float) -> list[Range]:
    async with attachment.turn(connection, wait_s):
        existing = await existing_ranges(connection)
        gaps = uncovered(wanted, existing)
        for gap in gaps:
            await attachment.attach(connection, gap)
    return _made(existing, gaps)


async def _attach_ahead(connection: Connection, wanted: Range) -> list[Range]:
    """Make what is missing of a range that will soon hold all events, whatever that holds up."""
    try:
        return await _attach(connection, wanted, _AHEAD_TURN_S)
    except DefaultTooLarge:
        existing = await existing_ranges(connection)
        gaps = uncovered(wanted, existing)
        for gap in gaps:
            await attachment.attach_beside_large_default(connection, gap)
        return _made(existing, gaps)


def _made(existing: list[Range], gaps: list[Range]) -> list[Range]:
    for gap in gaps:
        log.info("partition made", partition=name_of(gap))
    return existing + gaps


def _before_sending(failure: Unavailable) -> Unavailable:
    """Say of a failure that none of the caller's rows was sent."""
    return Unavailable(
        failure.reason,
        stored=False,
        outage=failure.outage,
        is_lasting=failure.is_lasting,
        sqlstate=failure.sqlstate,
    )


def _reason(error: asyncpg.PostgresError) -> str:
    return f"{type(error).__name__}, SQLSTATE {error.sqlstate}"
