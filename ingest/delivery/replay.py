"""The replayer: brings what the spool holds to Postgres, oldest first, exactly once.

A transaction takes many batches at once. Plain COPY first, the fastest way there is; when a key
turns out to be stored already, because an earlier try was committed, the rows are merged by key.
A batch leaves the spool only after COMMIT, and coming again does no harm, so a crash at any
moment costs nothing. Rows that Postgres refuses are set aside in `rejected_events` and block
nothing.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import structlog

from ingest.delivery.queues import Queues
from ingest.events import copy_format, copy_reader
from ingest.observe.metrics import Metrics
from ingest.spool import Spool, SpooledBatch, SpoolFailed
from ingest.store import rejected
from ingest.store.failures import AlreadyStored, RowRefused, Unavailable
from ingest.store.health import Health
from ingest.store.link import CopyLink
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres
from ingest.store.rejected import Rejected

log = structlog.get_logger(__name__)

_EVENTS_MAX = 20_000
_EVENTS_MIN = 100
_STEP_EVENTS = 1_000
_PART_EVENTS = 500
_IDLE_S = 0.1
_LOOK_S = 3.0
_RETRY_S = 0.5
_BUSY_EVENTS = 1_000
_YIELD_S = 0.005
_YIELDS_MAX = 40


class Replayer:
    """One task and one connection."""

    def __init__(  # noqa: PLR0913 - what it pipeline with
        self,
        spool: Spool,
        queues: Queues,
        link: CopyLink,
        postgres: Postgres,
        health: Health,
        *,
        metrics: Metrics,
        partitions: Partitions,
    ) -> None:
        self._spool = spool
        self._queues = queues
        self._link = link
        self._postgres = postgres
        self._health = health
        self._metrics = metrics
        self._partitions = partitions
        self._looked_s = -_LOOK_S
        self._events_max = _EVENTS_MAX
        """Of one transaction: less after a failure, should it be too much for the time-out."""

    async def run(self) -> None:
        """Replay until cancelled."""
        while True:
            if not self._health.is_up or not self._is_time_to_look():
                await asyncio.sleep(_IDLE_S)
                continue
            try:
                await self._give_way()
                await self._replay()
            except Unavailable as failure:
                self._health.report(failure)
                self._events_max = max(_EVENTS_MIN, self._events_max // 4)
                await asyncio.sleep(_IDLE_S)
            except SpoolFailed as failure:
                log.warning("the spool can't be read", reason=failure.reason)
                await asyncio.sleep(_RETRY_S)

    def _is_time_to_look(self) -> bool:
        """Whether something waits; now and then also when not: another process may have died."""
        now_s = time.monotonic()
        if self._spool.is_empty and now_s - self._looked_s < _LOOK_S:
            return False
        self._looked_s = now_s
        return True

    async def _give_way(self) -> None:
        """Let live traffic go first, for a while."""
        for _ in range(_YIELDS_MAX):
            if self._queues.waiting_events < _BUSY_EVENTS:
                return
            await asyncio.sleep(_YIELD_S)

    async def _replay(self) -> None:
        """Bring everything to Postgres, oldest first, reading ahead while Postgres writes."""
        spooled_batches = await self._spool.oldest(self._events_max)
        while spooled_batches and self._health.is_up:
            on_their_way = {spooled_batch.ref for spooled_batch in spooled_batches}
            ahead = self._spool.oldest(self._events_max, beyond=on_their_way)
            reading = asyncio.create_task(ahead)
            try:
                await self._bring(spooled_batches)
                spooled_batches = await reading
            finally:
                await _end(reading)
            await self._give_way()
        await asyncio.sleep(_IDLE_S)  # what is left may be unreadable for the moment

    async def _bring(self, spooled_batches: Sequence[SpooledBatch]) -> None:
        """Bring batches to Postgres, and only then take them out of the spool.

        All at once; if Postgres refuses a row of them, in steps: finding the bad ones takes a
        while, and what is done by then stays done if Postgres goes away in the middle of it.
        """
        if await self._send(_rows(spooled_batches)) is None:
            await self._forget(spooled_batches, refused_events=0)
        else:
            for step in _steps(spooled_batches):
                refused_events = await self._store(_rows(step))
                await self._forget(step, refused_events)
        self._events_max = min(_EVENTS_MAX, self._events_max * 2)

    async def _forget(self, spooled_batches: Sequence[SpooledBatch], refused_events: int) -> None:
        """Take batches whose events are stored, or set aside, out of the spool."""
        await self._spool.remove(spooled_batches)
        events = sum(len(spooled_batch.rows) for spooled_batch in spooled_batches)
        self._metrics.replayed_events += events - refused_events
        self._metrics.set_aside_events += refused_events

    async def _store(self, spooled: Sequence[bytes]) -> int:
        """Store rows; set aside those that Postgres refuses and return how many they were.

        Around a refused one the rest is sent again, in smaller parts; when it is not known which
        it is, in halves.
        """
        refused: list[Rejected] = []
        waiting = [spooled]
        while waiting:
            part = waiting.pop()
            refusal = await self._send(part)
            if refusal is None:
                continue
            index = 0 if len(part) == 1 else refusal.index
            if index is None:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
            else:
                refused.append(_describe(part[index], refusal))
                waiting += [*_cut(part[index + 1 :]), part[:index]]
        await self._set_aside(refused)
        return len(refused)

    async def _send(self, part: Sequence[bytes]) -> RowRefused | None:
        """Store rows, or return why Postgres refuses one of them; raise Unavailable.

        A unique violation that is left after the merge is another index's: the operator's.
        """
        if not part:
            return None
        try:
            await self._copy_or_merge(part)
        except RowRefused as bad:
            return bad.with_traceback(None)  # it would keep the document
        except Unavailable as failure:
            if failure.is_refusal or isinstance(failure, AlreadyStored):
                return RowRefused(None, failure.sqlstate, failure.reason)
            raise
        return None

    async def _copy_or_merge(self, part: Sequence[bytes]) -> None:
        await self._partitions.make_for([copy_reader.moment_ms(row) for row in part])
        document = copy_format.document(part)
        has_keys = any(map(copy_reader.has_idempotency_key, part))
        if not has_keys:
            try:
                await self._link.copy(document, len(part))
            except AlreadyStored:
                pass
            else:
                return
        await self._link.merge(document, len(part), has_keys=has_keys)

    async def _set_aside(self, refused: Sequence[Rejected]) -> None:
        if refused:
            async with self._postgres.session() as connection:
                await rejected.add(connection, refused)
            log.error("events are set aside; see nonito rejected", events=len(refused))


async def _end(reading: asyncio.Task[list[SpooledBatch]]) -> None:
    """Let go of what was read ahead for nothing."""
    reading.cancel()
    await asyncio.wait((reading,))
    if not reading.cancelled():
        reading.exception()  # seen; the next reading meets it again


def _rows(spooled_batches: Sequence[SpooledBatch]) -> list[bytes]:
    return [row for spooled_batch in spooled_batches for row in spooled_batch.rows]


def _steps(spooled_batches: Sequence[SpooledBatch]) -> Iterator[list[SpooledBatch]]:
    """Yield batches in order, so many together that they have _STEP_EVENTS or more."""
    step: list[SpooledBatch] = []
    events = 0
    for spooled_batch in spooled_batches:
        step.append(spooled_batch)
        events += len(spooled_batch.rows)
        if events >= _STEP_EVENTS:
            yield step
            step, events = [], 0
    if step:
        yield step


def _cut(part: Sequence[bytes]) -> list[Sequence[bytes]]:
    """Cut rows into parts, the last one first: another refusal then costs one part's COPY."""
    return [part[at : at + _PART_EVENTS] for at in range(0, len(part), _PART_EVENTS)][::-1]


def _describe(row: bytes, refusal: RowRefused) -> Rejected:
    event = copy_reader.decode(row)
    timestamp, key = event["timestamp"], event["idempotency_key"]
    return Rejected(
        app_id=event["app_id"],
        id=UUID(event["id"]),
        event_name=event["event_name"],
        event_params=event["event_params"],
        created_at=datetime.fromisoformat(event["created_at"]),
        timestamp=datetime.fromisoformat(timestamp) if timestamp else None,
        idempotency_key=UUID(key) if key else None,
        sqlstate=refusal.sqlstate,
        message=refusal.message,
    )
