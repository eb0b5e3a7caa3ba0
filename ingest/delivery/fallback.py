"""Where batches go that Postgres does not take: the spool, or, if that fails too, a refusal."""

from typing import Final

import structlog

from ingest.delivery.batch import Batch
from ingest.delivery.outcome import Ack, settle
from ingest.delivery.reserve import SpoolReserve
from ingest.errors import Code, Refusal
from ingest.events import copy_reader
from ingest.observe.metrics import Metrics
from ingest.spool import Spool, SpoolFailed, SpoolFull

log = structlog.get_logger(__name__)

_LOOKED_AT: Final = 50
"""So many rows of a batch that is refused are looked at to note whose events are refused."""


class Fallback:
    """Spools batches and answers their senders; without a spool it can only refuse."""

    def __init__(self, spool: Spool | None, metrics: Metrics) -> None:
        self._spool = spool
        self._metrics = metrics
        self.reserve = SpoolReserve(spool.reserve_bytes if spool else 0)

    @property
    def has_room(self) -> bool:
        """Whether a batch can be expected to be taken, whose ever it is."""
        return self._spool is not None and self._spool.has_room

    @property
    def has_room_for_some(self) -> bool:
        """Whether those can expect it who have little there."""
        is_left = self._spool is not None and self._spool.has_reserve
        return self.has_room or (is_left and self.reserve.is_shared)

    async def take(self, batch: Batch, reason: str, *, stored: bool | None) -> None:
        """Spool a batch: 202; or refuse it. `stored` is what is known of it so far.

        False: it certainly is not in Postgres; None: it may be. Spooled it is stored once even so.
        By its dedup keys, if it has some, a retry finds it there.
        """
        if self._spool is None:
            self.refuse(batch, _refusal(Code.DATABASE_ERROR, reason, stored=stored))
            return
        try:
            await self._append(self._spool, batch, reason, stored=stored)
        except SpoolFull:
            self.refuse(batch, _full(reason, stored=stored))
        except SpoolFailed as failure:
            known = stored if failure.stored is False else None
            why = f"{reason}; the spool failed: {failure.reason}"
            self.refuse(batch, _refusal(Code.OVERLOADED, why, stored=known))
        else:
            waiters = batch.release()
            settle(waiters, Ack.SPOOLED)
            self._metrics.spooled_events += len(waiters)

    async def _append(
        self, spool: Spool, batch: Batch, reason: str, *, stored: bool | None
    ) -> None:
        """Append a batch; to a spool that is full, what may use its reserve, and refuse the rest.

        Raises SpoolFull or SpoolFailed.
        """
        try:
            await spool.append(batch.rows, batch.dedup_keys)
        except SpoolFull:
            admitted = self.reserve.admit(batch.rows)
            if not admitted:
                raise
            self.refuse(batch.without(admitted), _full(reason, stored=stored))
            await self._append_to_reserve(spool, batch)
        else:
            self.reserve.clear()

    async def _append_to_reserve(self, spool: Spool, batch: Batch) -> None:
        rows = batch.rows
        try:
            await spool.append(rows, batch.dedup_keys, from_reserve=True)
        except SpoolFull:
            self.reserve.give_back(rows)
            raise

    def refuse(self, batch: Batch, refusal: Refusal) -> None:
        """Answer everybody who still waits."""
        if not batch.rows:  # as behind nearly every batch
            return
        self._metrics.failed(refusal.code, len(batch.rows))
        for app_id in {copy_reader.app_id(row) for row in batch.rows[:_LOOKED_AT]}:
            self._metrics.latest_refusals.note(refusal, app_id)
        batch.refuse(refusal)


def unknown(reason: str) -> Refusal:
    """Return the refusal for an event whose outcome nobody knows."""
    return Refusal(
        Code.DATABASE_ERROR,
        f"The database did not confirm the event ({reason}); it may or may not be stored.",
    )


def _full(reason: str, *, stored: bool | None) -> Refusal:
    return _refusal(Code.OVERLOADED, f"{reason}; the spool is full", stored=stored)


def _refusal(code: Code, reason: str, *, stored: bool | None) -> Refusal:
    if stored is None:
        return unknown(reason)
    return Refusal(code, f"The event was not stored ({reason}); send it again.")
