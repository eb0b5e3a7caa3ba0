"""Retention: what is older than it is to be kept goes, for ever, whatever is in the way for now.

Done by one process of each server, and of several servers by one at a time. A round moves the
horizons (`horizons.py`), drops the partitions that are behind all of them, and deletes the rest
some at a time. What can't go yet is told once, and tried again.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import structlog

from ingest.errors import StartupError
from ingest.store import expired_partitions, horizons, retention_report
from ingest.store.archive_mark import InUse, Waits
from ingest.store.expired_partitions import Partition
from ingest.store.expired_rows import Rows
from ingest.store.failures import Unavailable
from ingest.store.horizons import OTHERS, Horizon, Kept
from ingest.store.postgres import Connection, Postgres
from ingest.store.reasons import reason_of

log = structlog.get_logger(__name__)

_FIRST_S: Final = 10.0
_INTERVAL_S: Final = 300.0
_RETRY_S: Final = 60.0
_LATE_S: Final = 3600.0
"""So often at least it is looked for what has come in late."""
_WORK_S: Final = 10.0
"""So long others of this process wait for the turn."""
_REST_S: Final = 1.0
_LATER: Final = "further partitions go in the next rounds"
_DROPS_S: Final = 15.0
"""So long partitions are dropped in one round."""
_DELETES_S: Final = 60.0
"""So long rows are deleted in one round: what others have said since is heard in the next."""
_MISSES_MAX: Final = 60
_AHEAD_MAX: Final = 24
"""Of so many partitions that stay it is looked when they go."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_TRIES_MAX: Final = 10
_TRY_PAUSE_S: Final = 1.0
_STATEMENT_S: Final = 70.0
_TELL: Final = "UPDATE retention SET trouble = $2 WHERE app_id = $1 AND trouble <> $2"
_NO_PRIVILEGE: Final = (
    "this role may not delete events, or drop partitions that are another's ({}): run `nonito"
    " retention run` as the role that owns the tables, as often as `nonito migrate`"
)

_HINDRANCES: Final = (
    Waits,
    *expired_partitions.IN_THE_WAY,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientPrivilegeError,
)


class Figures(NamedTuple):
    """What a process has done since it began, and how it goes on."""

    partitions: int = 0
    events: int = 0
    """Deleted, and about so many of dropped partitions."""
    next_drop_s: float = 0.0
    """When the next partition goes, as a Unix time; 0 for never."""
    is_waiting: bool = False
    """Whether something that is to go waits: the log and the dashboard say for what."""
    has_more: bool = False
    """Whether the last round ended before all was gone that can go, or another server had one."""


class Retention:
    """Has what is too old go."""

    def __init__(
        self,
        postgres: Postgres,
        kept: Kept,
        grace: timedelta = horizons.GRACE,
        count: Callable[[int, int], None] = lambda _partitions, _events: None,
    ) -> None:
        """`count` is told of partitions and events that have gone."""
        self._postgres = postgres
        self._kept = kept
        self._grace = grace
        self._tell_count = count
        self._archive_interval_s = kept.archive_interval_s or 0.0
        self._waiting: list[Partition] = []
        """Partitions that are to go: no row of theirs is deleted by itself."""
        self._is_late = False
        """Whether some of them were not tried, as there was no time for it."""
        self._done: dict[int, tuple[datetime | None, float]] = {}
        """Up to where the rows of an app have gone, and when that was."""
        self.figures = Figures()

    async def run(self) -> None:
        """Have go what is due, for ever; an outage, or somebody's lock, only delays it."""
        pause_s = _FIRST_S
        while True:
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            pause_s = _INTERVAL_S
            try:
                done, found = self.figures, await self.round()
                if found.has_more:
                    pause_s = _FIRST_S
                elif found.is_waiting or found.partitions != done.partitions:
                    pause_s = _RETRY_S
            except (Unavailable, StartupError, asyncpg.PostgresError) as error:
                log.warning("nothing goes for now that is too old", reason=_reason(error))

    async def finish(self) -> Figures:
        """Do rounds until all has gone that can go now; raise as `round`, and StartupError.

        That where other servers are at it all the time.
        """
        misses = 0
        while misses < _MISSES_MAX:
            done, found = self.figures, await self.round()
            if not found.has_more:
                return found
            is_idle = (found.partitions, found.events) == (done.partitions, done.events)
            misses = misses + 1 if is_idle else 0
            await asyncio.sleep(_REST_S)
        raise StartupError("another server is at it all the time: try again later")

    async def round(self) -> Figures:
        """Have go what can go now, and return what was done so far.

        Raises Unavailable, StartupError or PostgresError where nothing could be done.
        """
        done = self.figures.partitions
        async with self._postgres.session(_STATEMENT_S, self._postgres.turns.upkeep) as connection:
            found = await horizons.advance(connection, self._kept, self._grace)
            if found is None:
                self.figures = self.figures._replace(has_more=True)
                return self.figures
            waits = {OTHERS: await self._drop_partitions(connection, horizons.by_app(found))}
        apps = [each for each in found if each.app_id != OTHERS]
        waits |= await self._delete_all(apps)
        left = [each for each in apps if self._is_due(each) and not waits.get(each.app_id)]
        has_more = bool(left) or (self._is_late and self.figures.partitions != done)
        self.figures = self.figures._replace(has_more=has_more)
        await self._tell(found, waits)
        return self.figures

    async def _drop_partitions(self, connection: Connection, known: Mapping[int, Horizon]) -> str:
        """Drop what has expired, the oldest first; return why something waits."""
        self._waiting, self._is_late = [], False
        if not any(each.days for each in known.values()):
            return ""
        reasons: list[str] = []
        end_s = time.monotonic() + _DROPS_S
        for each in await self._expired(connection, known):
            self._is_late = time.monotonic() > end_s
            reason = _LATER if self._is_late else await self._drop_patiently(connection, each)
            if reason:
                reasons.append(reason)
                self._waiting.append(each)
            else:
                self._count(partitions=1, events=each.rows)
        return next(iter(reasons), "")

    async def _expired(
        self, connection: Connection, known: Mapping[int, Horizon]
    ) -> Sequence[Partition]:
        """Return the partitions that are to go, the oldest first; note when the next one is."""
        latest = max((each.events_before or _NEVER for each in known.values()), default=_NEVER)
        expired: list[Partition] = []
        next_s: list[float] = []
        for each in await expired_partitions.list_all(connection):
            holding = await expired_partitions.holders(connection, each, known)
            if each.range.end <= latest and expired_partitions.has_expired(each, holding):
                expired.append(each)
            elif len(next_s) < _AHEAD_MAX:
                next_s.append(retention_report.drop_s(each, holding))
            elif each.range.end > latest:
                break
        soonest_s = min(next_s, default=math.inf)
        self.figures = self.figures._replace(
            next_drop_s=0.0 if math.isinf(soonest_s) else soonest_s
        )
        return expired

    async def _drop_patiently(self, connection: Connection, partition: Partition) -> str:
        """Drop a partition, however often that has to be tried; return why it waits."""
        reason = ""
        for _ in range(_TRIES_MAX):
            try:
                await expired_partitions.drop(connection, partition, self._archive_interval_s)
            except InUse as waits:
                reason = str(waits)
            except Waits as waits:
                return str(waits)
            except expired_partitions.IN_THE_WAY as error:
                reason = f"{partition.name} waits for a lock: {reason_of(error)}"
            except asyncpg.QueryCanceledError:
                return f"{partition.name} takes too long to look through: VACUUM ANALYZE it"
            except asyncpg.PostgresError as error:
                return _reason(error)
            else:
                log.info(
                    "partition dropped: all of it is older than it is kept", **_told(partition)
                )
                return ""
            await asyncio.sleep(_TRY_PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        return reason

    async def _delete_all(self, found: Sequence[Horizon]) -> dict[int, str]:
        """Delete what is behind the horizons, for a while; return by app why something waits."""
        end_s = time.monotonic() + _DELETES_S
        waits = {}
        for each in found:
            if each.events_before is None:
                waits[each.app_id] = ""
            elif self._is_due(each) and time.monotonic() < end_s:
                waits[each.app_id] = await self._delete_rows(each, end_s)
        return waits

    async def _delete_rows(self, horizon: Horizon, end_s: float) -> str:
        """Delete what is behind an app's horizon; return why something waits."""
        waiting = [each.range for each in self._waiting]
        rows = Rows(horizon.app_id, self._archive_interval_s, waiting)
        try:
            while not rows.are_gone and time.monotonic() < end_s:
                await self._delete_some(rows)
                await asyncio.sleep(_REST_S)
        except (*_HINDRANCES, Unavailable) as error:
            return _reason(error)
        if rows.are_gone:
            self._done[horizon.app_id] = horizon.events_before, time.monotonic()
        return ""

    async def _delete_some(self, rows: Rows) -> None:
        error: Exception | None = None
        async with self._postgres.session(_STATEMENT_S, self._postgres.turns.upkeep) as connection:
            try:
                end_s = time.monotonic() + _WORK_S
                await rows.delete(connection, end_s, lambda gone: self._count(events=gone))
            except _HINDRANCES as waits:
                error = waits
        if error is not None:
            raise error

    def _is_due(self, horizon: Horizon) -> bool:
        """Return whether rows of an app may be behind its horizon."""
        if horizon.events_before is None:
            return False
        before, done_s = self._done.get(horizon.app_id, (None, -math.inf))
        return before != horizon.events_before or time.monotonic() - done_s > _LATE_S

    def _count(self, *, partitions: int = 0, events: int = 0) -> None:
        done = self.figures
        self._tell_count(partitions, events)
        self.figures = done._replace(
            partitions=done.partitions + partitions, events=done.events + events
        )

    async def _tell(self, found: Sequence[Horizon], waits: Mapping[int, str]) -> None:
        """Write why something waits, for the dashboard, and log what is new."""
        changed = [
            (each, waits[each.app_id])
            for each in found
            if each.app_id in waits and waits[each.app_id] != each.trouble
        ]
        for each, reason in changed:
            if reason:
                log.warning("events wait that are to go", app=each.app or "all", reason=reason)
        if changed:
            async with self._postgres.session(turn=self._postgres.turns.upkeep) as connection:
                for each, reason in changed:
                    await connection.execute(_TELL, each.app_id, reason)
        troubles = {each.app_id: waits.get(each.app_id, each.trouble) for each in found}
        self.figures = self.figures._replace(is_waiting=any(troubles.values()))


def _told(partition: Partition) -> dict[str, object]:
    return {
        "partition": partition.name,
        "before": f"{partition.range.end:%Y-%m-%d}",
        "events": partition.rows,
        "bytes": partition.bytes,
    }


def _reason(error: Exception) -> str:
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return _NO_PRIVILEGE.format(error)
    return reason_of(error) if isinstance(error, asyncpg.PostgresError) else str(error)
