"""The writers: batch by batch from the queue into Postgres, and every sender gets an answer.

A 200 is sent after COMMIT and never before. A row that Postgres refuses is taken out by the line
that the error names and the rest is sent again: two COPYs for one bad row. Whatever else goes wrong
is the database's or ours, never the event's: the batch is spooled, also when nobody knows whether
it is stored.
"""

import asyncio
import time
from collections.abc import Sequence

import structlog

from ingest.delivery.fallback import Fallback, unknown
from ingest.delivery.outcome import Ack, Waiter, settle
from ingest.delivery.queue import Batch, EventQueue
from ingest.errors import Code, Refusal
from ingest.events import copy_format
from ingest.observe.metrics import Metrics
from ingest.store.failures import AlreadyStored, RowRefused, Unavailable
from ingest.store.health import Health
from ingest.store.link import CopyLink

log = structlog.get_logger(__name__)


class Writer:
    """One task and one connection; the server runs `writer.connections` of them."""

    def __init__(
        self,
        queue: EventQueue,
        link: CopyLink,
        health: Health,
        fallback: Fallback,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._link = link
        self._health = health
        self._fallback = fallback
        self._metrics = metrics

    async def run(self) -> None:
        """Write until cancelled. Nothing that a batch does ends this loop."""
        while True:
            batch = await self._queue.take()
            try:
                await self._write(batch)
            except Exception:
                log.exception("a batch could not be written")
                self._fallback.refuse(batch, unknown("the server failed"))
            finally:
                # Also when cancelled in the middle of a COPY: nobody is left waiting.
                self._fallback.refuse(batch, unknown("the server stopped"))
                self._queue.done(batch)

    async def _write(self, batch: Batch) -> None:
        started_s = time.monotonic()
        try:
            self._health.check()
            await self._copy(batch)
        except Unavailable as failure:
            self._health.report(failure)
            await self._give_up(batch, failure)
        else:
            self._acknowledge(batch, started_s)

    async def _give_up(self, batch: Batch, failure: Unavailable) -> None:
        await self._fallback.take(batch, failure.reason, stored=failure.stored)

    async def _copy(self, batch: Batch) -> None:
        """Store the batch, taking out each row that Postgres refuses."""
        while batch.rows:
            try:
                await self._send(batch)
            except RowRefused as bad:
                index = await self._find(batch) if bad.index is None else bad.index
                self._refuse_row(batch, index, bad)
            else:
                return

    async def _send(self, batch: Batch) -> None:
        document = copy_format.document(batch.rows)
        try:
            await self._link.copy(document, len(batch.rows))
        except AlreadyStored:
            # Its client was told the id before it was stored, and has sent it again as its own.
            await self._link.merge(document, len(batch.rows), has_keys=False)

    async def _rehearse(self, part: Sequence[bytes]) -> None:
        await self._link.rehearse(copy_format.document(part), len(part))

    async def _find(self, batch: Batch) -> int:
        """Return the index of a refused row that the error did not name, by bisection."""
        low, high = 0, len(batch.rows)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                await self._rehearse(batch.rows[low:middle])
            except RowRefused:
                high = middle
            else:
                low = middle
        return low

    def _acknowledge(self, batch: Batch, started_s: float) -> None:
        """Count a committed batch; answer its senders once the next COPY is on its way.

        Writing many answers takes a while: Postgres pipeline meanwhile.
        """
        self._metrics.committed(len(batch.rows), time.monotonic() - started_s)
        asyncio.get_running_loop().call_soon(self._answer, batch.release(), batch.opened_s)

    def _answer(self, waiters: list[Waiter], opened_s: float) -> None:
        settle(waiters, Ack.COMMITTED)
        self._metrics.answered(len(waiters), time.monotonic() - opened_s)

    def _refuse_row(self, batch: Batch, index: int, bad: RowRefused) -> None:
        refusal = Refusal(Code.REJECTED_BY_DATABASE, f"Postgres: {bad.message}")
        batch.answer({index: refusal})
        self._metrics.failed(Code.REJECTED_BY_DATABASE, 1)
