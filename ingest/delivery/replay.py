"""The replayer: brings what the spool holds to Postgres, oldest first, exactly once.

A transaction takes many batches at once. A batch leaves the spool only after COMMIT, and coming
again does no harm, so a crash at any moment costs nothing. Rows that Postgres refuses become dead
letters, in `rejected_events`, and block nothing.
"""

import asyncio
import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import structlog

from ingest.delivery.committer import Commit, Committer
from ingest.delivery.events_table import EVENTS
from ingest.delivery.queues import Queues
from ingest.events import copy_reader
from ingest.observe.metrics import Metrics
from ingest.spool import Spool, SpooledBatch, SpoolFailed
from ingest.store import rejected
from ingest.store.failures import Unavailable
from ingest.store.health import Health
from ingest.store.postgres import Postgres
from ingest.store.rejected import Rejected

log = structlog.get_logger(__name__)

PART_ROWS_MAX: Final = 500
"""Behind a refused row the rest of a transaction is sent in parts of so many."""

Placed = tuple[SpooledBatch, range]
"""A batch, and the indices of its rows in a commit."""

_EVENTS_MAX: Final = 20_000
_EVENTS_MIN: Final = 100
_IDLE_S: Final = 0.1
_LOOK_S: Final = 3.0
_RETRY_S: Final = 0.5
_BUSY_EVENTS: Final = 1_000
_YIELD_S: Final = 0.005
_YIELDS_MAX: Final = 40


class Replayer:
    """Brings spooled batches to Postgres, with one task and one connection."""

    def __init__(
        self,
        spool: Spool,
        queues: Queues,
        committer: Committer,
        postgres: Postgres,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._spool = spool
        self._queues = queues
        self._committer = committer
        self._postgres = postgres
        self._health = health
        self._metrics = metrics
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
        batches = await self._spool.oldest(self._events_max)
        while batches and self._health.is_up:
            on_their_way = {batch.ref for batch in batches}
            ahead = self._spool.oldest(self._events_max, beyond=on_their_way)
            reading = asyncio.create_task(ahead)
            try:
                await self._bring(batches)
                batches = await reading
            finally:
                await _end(reading)
            await self._give_way()
        await asyncio.sleep(_IDLE_S)  # what is left may be unreadable for the moment

    async def _bring(self, batches: Sequence[SpooledBatch]) -> None:
        """Bring batches to Postgres, and only then take them out of the spool.

        All at once. If Postgres goes away in the middle, what is done by then stays done.
        """
        commit = Commit([row for batch in batches for row in batch.rows])
        placed = _place(batches)
        try:
            await self._committer.require_database()  # that the spool belongs to
            await self._committer.run(commit)
        except Unavailable:
            pending = {at for part in commit.pending for at in part}
            await self._forget([each for each in placed if pending.isdisjoint(each[1])], commit)
            raise
        await self._forget(placed, commit)
        self._events_max = min(_EVENTS_MAX, self._events_max * 2)

    async def _forget(self, settled: Sequence[Placed], commit: Commit) -> None:
        """Take batches out of the spool whose events are stored, or kept as dead letters first."""
        if not settled:
            return
        dead: list[int] = []
        if commit.refused:
            dead = [at for _, indices in settled for at in indices if at in commit.refused]
            await self._keep_refused(commit, dead)
        await self._spool.remove([batch for batch, _ in settled])
        self._metrics.replayed_events += sum(len(at) for _, at in settled) - len(dead)
        self._metrics.dead_lettered_events += len(dead)

    async def _keep_refused(self, commit: Commit, indices: Sequence[int]) -> None:
        if not indices:
            return
        refused = []
        for at in indices:
            bad = commit.refused[at]
            refused.append(Rejected(copy_reader.decode(commit.rows[at]), bad.sqlstate, bad.message))
        async with self._postgres.session() as connection:
            await rejected.add(connection, EVENTS, refused)
        log.error("events are dead letters now; see nonito rejected", events=len(refused))


def _place(batches: Sequence[SpooledBatch]) -> list[Placed]:
    """Return each batch with where its rows are among those of all."""
    ends = accumulate(len(batch.rows) for batch in batches)
    return [
        (batch, range(end - len(batch.rows), end)) for batch, end in zip(batches, ends, strict=True)
    ]


async def _end(reading: asyncio.Task[list[SpooledBatch]]) -> None:
    """Cancel reading ahead, and take note of what it raised."""
    reading.cancel()
    await asyncio.wait((reading,))
    if not reading.cancelled():
        reading.exception()  # seen; the next reading meets it again
