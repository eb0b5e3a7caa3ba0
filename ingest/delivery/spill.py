"""The spill: when Postgres is there but too slow, the oldest batches go to the spool."""

import asyncio

import structlog

from ingest.delivery.fallback import Fallback, unknown
from ingest.delivery.queue import EventQueue
from ingest.delivery.retries import Retries

_NO_ROOM_S = 0.5

log = structlog.get_logger(__name__)


class Spill:
    """Relieves one queue when it is nearly full."""

    def __init__(
        self, queue: EventQueue, fallback: Fallback, retries: Retries | None = None
    ) -> None:
        self._queue = queue
        self._fallback = fallback
        self._retries = retries
        """For the dedup queue."""

    async def run(self) -> None:
        """Relieve the queue until cancelled. Without room in the spool it stays as it is."""
        while True:
            while not self._fallback.has_room:  # noqa: ASYNC110 - the disk tells nobody
                await asyncio.sleep(_NO_ROOM_S)
            batch = await self._queue.take_spill()
            try:
                if self._retries is not None:
                    await self._retries.take_out(batch)
                await self._fallback.take(batch, "Postgres is too slow", stored=False)
            except Exception:
                log.exception("a batch could not be spooled")
            finally:
                self._fallback.refuse(batch, unknown("the server stopped"))
                self._queue.done(batch)
