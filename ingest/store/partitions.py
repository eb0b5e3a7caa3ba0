"""Partitions of the events table: ranges of id, so ranges of time.

Those of now and of the time ahead are made before they are needed, those of the past when somebody
sends an event of that time. What has no partition is in `events_default`, as a stray: stored like
any other, and brought into a partition later if that holds nobody up. That a partition can't be
made is never a reason not to take an event.

Clients say of which time their events are, so what they can make is bounded: a budget for each app
and hour, and a number for all. Without them one key made 1,780 partitions in two minutes.
"""

import asyncio
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

import asyncpg
import structlog

from ingest.share.turn import Turn
from ingest.store import attachment
from ingest.store.attachment import (
    DefaultTooLarge,
    PartitionDeferred,
    PastDeferred,
    StrayDay,
    TooManyPartitions,
)
from ingest.store.failures import NoTurn, Unavailable, is_of_node
from ingest.store.partition_budget import PartitionBudget
from ingest.store.partition_map import DAY_MS, PartitionMap, existing_ranges
from ingest.store.periods import (
    Period,
    Range,
    moment_at,
    name_of,
    period_of,
    plan,
    uncovered,
)
from ingest.store.postgres import Connection, Postgres
from ingest.store.reasons import reason_of

log = structlog.get_logger(__name__)

PARTITIONS_MAX: Final = 2_000
"""Beyond so many none is made but for now and the time ahead. Five years of days are 1,826.
Postgres does well with up to a few thousand as long as plans leave out nearly all of them.

Source: https://www.postgresql.org/docs/18/ddl-partitioning.html, best practices."""

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
_OUTAGE_CLASSES: Final = ("08", "25006", "25P", "53", "57P", "58")


class Look(NamedTuple):
    """What there was, and the gaps of a range, of which the first is filled by now."""

    existing: list[Range]
    gaps: list[Range]


FillGap: TypeAlias = Callable[[Connection, Range], Awaitable[Look]]
"""Makes the first partition that is missing of a range."""


class Wanted(NamedTuple):
    """A range without a partition that events are of."""

    range: Range
    app_ids: list[int]
    """Whose events; those of the most first."""


class Partitions:
    """What one server knows of the partitions, and what it makes of them."""

    def __init__(
        self, postgres: Postgres, period: Period, ahead: int, *, per_hour_max: float = math.inf
    ) -> None:
        self._postgres = postgres
        self._budget = PartitionBudget(per_hour_max)
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
        self._looked_s = -math.inf

    def covers(self, unix_ms: int) -> bool:
        """Return whether a partition of its own is known for a time; if wrong, a row is a stray."""
        return self.map.covers(unix_ms)

    async def ensure(self, turn: Turn | None = None) -> None:
        """Look what there is, and make what is missing of now and ahead; raise Unavailable.

        What can't be made without holding up events is logged and left to another time.
        """
        async with self._postgres.session(_TIMEOUT_S, turn) as connection:
            with self._judging(None):
                await attachment.drop_proofs(connection)
            existing = await self._learn(connection)
            wanted = plan(datetime.now(UTC), self._period, self._ahead, existing)
            for each in filter(self._is_due, wanted):
                await self._make(connection, each, _fill_ahead)

    async def _learn(self, connection: Connection) -> list[Range]:
        existing = await existing_ranges(connection)
        self.map.learn(existing)
        self._looked_s = time.monotonic()
        return existing

    async def make_for(self, moments: Iterable[tuple[int, int]]) -> None:
        """Make the partitions of events, given by app and Unix milliseconds, before they are sent.

        Eight at most, those of the most events first, and none is begun after a second, nor beyond
        what the budgets of the apps allow: events of the rest are strays. Raises Unavailable, with
        `stored` false, in an outage only.
        """
        wanted = self._missing(moments)[:_MAKE_MAX]
        if not wanted:
            return
        turn = self._postgres.turns.partitions
        try:
            async with self._postgres.session(turn=turn, turn_timeout_s=_TURN_S) as connection:
                end_s = time.monotonic() + _MAKE_S
                for each in wanted:
                    await self._make_on_demand(connection, each, end_s)
        except NoTurn as busy:
            self._hold_up(busy.reason)
        except Unavailable as failure:
            raise failure.unsent() from failure

    async def gather_strays(self) -> None:
        """Bring strays into partitions, one range after the other; raise Unavailable."""
        async with self._postgres.session(_TIMEOUT_S, self._postgres.turns.upkeep) as connection:
            for wanted in (await self._ranges_of_strays(connection))[:_GATHER_MAX]:
                if await self._make_on_demand(connection, wanted):
                    await asyncio.sleep(_GATHER_PAUSE_S)  # whoever waited goes first

    async def run(self) -> None:
        """Make partitions ahead and gather strays, for ever; an outage only delays it.

        To be done by one process of a server; the others `follow`.
        """
        while True:
            pause_s = _INTERVAL_S if await self._look_after() else _RETRY_S
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def follow(self) -> None:
        """Look now and then what other processes have made, for ever.

        What one does not know of yet it finds when it is about to make it.
        """
        while True:
            await asyncio.sleep(_RETRY_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            if time.monotonic() - self._looked_s < _INTERVAL_S:
                continue
            try:
                async with self._postgres.session() as connection:
                    await self._learn(connection)
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("partitions could not be looked at", reason=reason_of(error))

    async def _look_after(self) -> bool:
        """Make what is due, gather strays; return whether nobody was in the way."""
        try:
            await self.ensure(self._postgres.turns.upkeep)
            await self.gather_strays()
        except Unavailable as failure:
            log.warning("partitions could not be made ahead", reason=failure.reason)
            return False
        return not self._is_held_up

    async def _ranges_of_strays(self, connection: Connection) -> list[Wanted]:
        found: list[StrayDay] = []
        if self._is_due(None):
            with self._judging(None):
                found = await attachment.stray_days(connection, self._budget.spent())
        return self._wanted({(each.app_id, each.day): each.events for each in found})

    async def _make_on_demand(
        self, connection: Connection, wanted: Wanted, end_s: float = math.inf
    ) -> bool:
        """Make a partition that an app has something left for; return whether it was tried."""
        app_id = self._budget.payer(wanted.app_ids)
        if app_id is None or not self._may_be_made(wanted.range):
            return False
        if made := await self._make(connection, wanted.range, _fill_on_demand, end_s):
            self._budget.spend(app_id, made)
        return True

    async def _make(
        self, connection: Connection, wanted: Range, fill_gap: FillGap, end_s: float = math.inf
    ) -> int:
        """Make what is missing of a range, unless somebody is in the way; return how many.

        One after the other, so that whoever waits for `events_default` gets it in between; none is
        begun after `end_s`.
        """
        made, is_more = 0, not self._is_held_up
        with self._judging(wanted):
            while is_more and time.monotonic() < end_s:
                existing, gaps = await fill_gap(connection, wanted)
                self.map.learn(existing + gaps[:1])
                for each in gaps[:1]:
                    log.info("partition made", partition=name_of(each))
                    made += 1
                is_more = len(gaps) > 1
        return made

    @contextmanager
    def _judging(self, wanted: Range | None) -> Iterator[None]:
        """Note why something was not done, and when to try it again; raise what is an outage."""
        try:
            yield
        except PastDeferred as left:
            self._leave(None, _LEFT_PAUSE_S, str(left))
        except PartitionDeferred as left:
            self._leave(wanted, _LEFT_PAUSE_S, str(left))
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            self._hold_up(reason_of(error))
        except asyncpg.QueryCanceledError as error:
            self._leave(wanted, _SLOW_PAUSE_S, reason_of(error))
        except asyncpg.InsufficientPrivilegeError as error:
            # So it is with all others: the tables are another role's, who makes them in time.
            self._left_until_s[wanted] = time.monotonic() + _LEFT_PAUSE_S
            self._leave(None, _LEFT_PAUSE_S, reason_of(error))
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "08").startswith(_OUTAGE_CLASSES) and not is_of_node(error):
                raise
            pause_s = _SLOW_PAUSE_S if is_of_node(error) else _LEFT_PAUSE_S
            self._leave(wanted, pause_s, reason_of(error))

    def _hold_up(self, reason: str) -> None:
        self._held_up_until_s = time.monotonic() + _BUSY_PAUSE_S
        log.warning("no partition is made for a while: somebody holds a lock", reason=reason)

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

    def _missing(self, moments: Iterable[tuple[int, int]]) -> list[Wanted]:
        """Return the periods of events without a partition, those of the most events first."""
        return self._wanted(
            Counter((app_id, ms // DAY_MS) for app_id, ms in moments if not self.covers(ms))
        )

    def _wanted(self, events: Mapping[tuple[int, int], int]) -> list[Wanted]:
        """Return the periods that may be made of those of some events, counted by app and day."""
        apps: dict[Range, Counter[int]] = defaultdict(Counter)
        for (app_id, day), count in events.items():
            apps[self._period_at(day * DAY_MS)][app_id] += count
        most_first = sorted(apps.items(), key=lambda each: -each[1].total())
        wanted = (
            Wanted(each, [app_id for app_id, _ in counted.most_common()])
            for each, counted in most_first
            if self._may_be_made(each)
        )
        return [each for each in wanted if self._budget.payer(each.app_ids) is not None]

    def _period_at(self, ms: int) -> Range:
        return period_of(moment_at(ms), self._period)


async def _fill_on_demand(connection: Connection, wanted: Range) -> Look:
    """Make the first that is missing of a range, unless that holds up events.

    Raises PartitionDeferred or PostgresError.
    """
    async with attachment.turn(connection, _TURN_S):
        existing = await existing_ranges(connection)
        if len(existing) >= PARTITIONS_MAX:
            raise TooManyPartitions(f"there are {len(existing)} partitions")
        return await _fill(connection, wanted, existing)


async def _fill_ahead(connection: Connection, wanted: Range) -> Look:
    """Make the first that is missing of what will soon hold all events, whatever that holds up."""
    try:
        async with attachment.turn(connection, _AHEAD_TURN_S):
            return await _fill(connection, wanted, await existing_ranges(connection))
    except DefaultTooLarge:
        existing = await existing_ranges(connection)
        gaps = uncovered(wanted, existing)
        for gap in gaps[:1]:
            await attachment.attach_beside_large_default(connection, gap)
        return Look(existing, gaps)


async def _fill(connection: Connection, wanted: Range, existing: list[Range]) -> Look:
    gaps = uncovered(wanted, existing)
    for gap in gaps[:1]:
        await attachment.attach(connection, gap)
    return Look(existing, gaps)
