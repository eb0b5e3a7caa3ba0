"""The replayer: brings what the spool holds to Postgres, oldest first, exactly once.

A transaction takes many batches at once. Plain COPY first, the fastest way there is; when a key
turns out to be stored already, because an earlier try was committed, the rows are merged by key.
A parcel leaves the spool only after COMMIT, and coming again does no harm, so a crash at any moment
costs nothing. Rows that Postgres refuses are set aside in `rejected_events` and block nothing.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog

from ingest.observe.metrics import Books
from ingest.pipeline import rows, tuples
from ingest.pipeline.queue import EventQueue
from ingest.pipeline.spool import Spool, SpoolFailed
from ingest.store import rejected
from ingest.store.failures import AlreadyStored, RowRefused, Unavailable
from ingest.store.health import Health
from ingest.store.link import CopyLink
from ingest.store.postgres import Postgres

log = structlog.get_logger(__name__)

_EVENTS_MAX = 20_000
_IDLE_S = 0.1
_LOOK_S = 3.0
_RETRY_S = 0.5
_BUSY_EVENTS = 1_000
_YIELD_S = 0.005
_YIELDS_MAX = 40


class Replayer:
    """One task and one connection."""

    def __init__(
        self,
        spool: Spool,
        queue: EventQueue,
        link: CopyLink,
        postgres: Postgres,
        health: Health,
        books: Books,
    ) -> None:
        self._spool = spool
        self._queue = queue
        self._link = link
        self._postgres = postgres
        self._health = health
        self._books = books
        self._looked_s = -_LOOK_S

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
                await asyncio.sleep(_IDLE_S)
            except SpoolFailed as failure:
                log.warning("the spool can't be read", reason=failure.reason)
                await asyncio.sleep(_RETRY_S)

    def _count_found(self) -> None:
        self._books.recovered_events = self._spool.recovered_events
        self._books.damaged_events = self._spool.newly_damaged_events

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
            if self._queue.waiting_events < _BUSY_EVENTS:
                return
            await asyncio.sleep(_YIELD_S)

    async def _replay(self) -> None:
        """Bring the oldest parcels to Postgres, and only then take them out of the spool."""
        parcels = await self._spool.oldest(_EVENTS_MAX)
        if not parcels:  # what is left may be unreadable for the moment
            await asyncio.sleep(_IDLE_S)
            return
        spooled = [row for parcel in parcels for row in parcel.rows]
        refused = await self._store(spooled)
        await self._spool.remove(parcels)
        self._count_found()
        self._books.replayed_events += len(spooled) - refused
        self._books.set_aside_events += refused

    async def _store(self, spooled: Sequence[bytes]) -> int:
        """Store rows; set aside those that Postgres refuses and return how many they were.

        A unique violation that is left after the merge is another index's: the operator's.
        """
        if not spooled:
            return 0
        try:
            await self._send(spooled)
        except RowRefused as bad:
            return await self._split(spooled, bad.index, bad.sqlstate, bad.message)
        except Unavailable as failure:
            if not failure.is_refusal and not isinstance(failure, AlreadyStored):
                raise
            return await self._split(spooled, None, failure.sqlstate, failure.reason)
        return 0

    async def _send(self, spooled: Sequence[bytes]) -> None:
        document = rows.document(spooled)
        try:
            await self._link.copy(document, len(spooled))
        except AlreadyStored:
            await self._link.merge(document, len(spooled))

    async def _split(
        self, spooled: Sequence[bytes], index: int | None, sqlstate: str, message: str
    ) -> int:
        """Store the rows around a refused one, or the halves when it is not known which it is."""
        if len(spooled) == 1:
            await self._set_aside(spooled[0], sqlstate, message)
            return 1
        if index is None:
            middle = len(spooled) // 2
            return await self._store(spooled[:middle]) + await self._store(spooled[middle:])
        await self._set_aside(spooled[index], sqlstate, message)
        before, after = spooled[:index], spooled[index + 1 :]
        return 1 + await self._store(before) + await self._store(after)

    async def _set_aside(self, row: bytes, sqlstate: str, message: str) -> None:
        event = tuples.decode(row)
        kept = rejected.Rejected(
            app_id=event["app_id"],
            id=UUID(event["id"]),
            event_name=event["event_name"],
            event_params=event["event_params"],
            created_at=datetime.fromisoformat(event["created_at"]),
            sqlstate=sqlstate,
            message=message,
        )
        async with self._postgres.session() as connection:
            await rejected.add(connection, [kept])
        log.error("Postgres refuses a spooled event; see nonito rejected", sqlstate=sqlstate)
