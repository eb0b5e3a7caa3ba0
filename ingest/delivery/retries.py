"""Retries: events that were sent before, in their own batch or in the spool.

What Postgres has stored it finds itself, by key. What it can't see is found here: the same event
twice in one batch, and a first try that still waits in the spool, with whichever process of this
server.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from ingest.delivery.batch import Batch
from ingest.delivery.outcome import Ack, Duplicate, Outcome, Unchecked, Waiter, settle
from ingest.events import copy_reader, row_json
from ingest.events.likeness import Comparer
from ingest.observe.metrics import Metrics
from ingest.spool import Spool, SpoolFailed
from ingest.spool.search import is_same_event
from ingest.store.merge import Earlier

log = structlog.get_logger(__name__)

_TURN_BYTES: Final = 65_536
_COMPARED_BYTES: Final = 512
"""Events are compared with stored ones in turns of so many bytes, 1 ms, where 5,000 take 20. Each
takes as long as so many bytes, whatever its size."""


class Retries:
    """Takes retries out of batches of the dedup queue and answers them."""

    def __init__(self, spool: Spool | None, metrics: Metrics) -> None:
        self._spool = spool
        self._metrics = metrics

    async def take_out(self, batch: Batch) -> None:
        """Leave only events whose first try is not known here, each once, in order of their keys.

        In order, because two COPYs that insert the same keys in opposite orders deadlock.
        """
        self._join(batch)
        if not any(isinstance(waiter, Unchecked | _Followed) for waiter in batch.waiters):
            # Nobody looks for ids that the server has made. Were they noted in the spool, all
            # batches with others' retries would wait for its disk, to be searched there.
            batch.dedup_keys = []
            return
        if self._spool is None or not self._spool.has_dedup_keys:
            return
        try:
            found = await self._spool.find(batch.dedup_keys)
        except SpoolFailed as failed:
            # The replay stores it once all the same; only the answer may be the second one's.
            log.warning("the spool can't be searched for retries", reason=failed.reason)
            return
        comparer = Comparer()
        # Without rows by now if all were refused meanwhile, at the end of the process.
        batch.answer(
            self._counted(
                {
                    at: _spooled(comparer, row, first)
                    for at, (key, row) in enumerate(zip(batch.dedup_keys, batch.rows, strict=True))
                    if (first := _first_try(row, found.get(key, ()))) is not None
                }
            )
        )

    async def compare(self, batch: Batch, earlier: Sequence[Earlier]) -> list[Earlier]:
        """Return what is stored, and of each whether its retry in the batch says something else."""
        rows = dict(zip(batch.dedup_keys, batch.rows, strict=True)) if earlier else {}
        compared: list[Earlier] = []
        compared_bytes = 0
        for each in earlier:
            row = rows.get(each.key, b"")
            is_different = bool(row) and Comparer().is_different(row, each.stored)
            compared.append(each._replace(is_different=is_different))
            compared_bytes += len(row) + _COMPARED_BYTES
            if compared_bytes > _TURN_BYTES:
                compared_bytes = 0
                await asyncio.sleep(0)
        return compared

    def duplicates(self, batch: Batch, earlier: Sequence[Earlier]) -> Mapping[int, Duplicate]:
        """Return what the senders of retries are to be told, by index: what is stored.

        Without parameters that are too long to be read back: the retry's own may be others.
        """
        found = {each.key: each for each in earlier}
        return self._counted(
            {
                at: Duplicate(Ack.COMMITTED, row_json.of_stored(first.stored), first.is_different)
                for at, key in enumerate(batch.dedup_keys)
                if (first := found.get(key)) is not None
            }
        )

    def _counted(self, duplicates: Mapping[int, Duplicate]) -> Mapping[int, Duplicate]:
        self._metrics.duplicate_events += len(duplicates)
        return duplicates

    def _join(self, batch: Batch) -> None:
        """Have all that are sent twice wait for the first of them."""
        comparer = Comparer()
        firsts: dict[bytes, tuple[bytes, Waiter]] = {}
        for row, waiter in zip(batch.rows, batch.waiters, strict=True):
            key = copy_reader.dedup_key(row)
            if key not in firsts:
                firsts[key] = (row, waiter)
                continue
            first, others = firsts[key]
            if not isinstance(others, _Followed):
                others = _Followed(first, others)
                firsts[key] = (first, others)
            others.add(waiter, is_different=comparer.is_different(row, others.first))
            self._metrics.duplicate_events += 1
        batch.dedup_keys = sorted(firsts)
        batch.rows = [firsts[key][0] for key in batch.dedup_keys]
        batch.waiters = [firsts[key][1] for key in batch.dedup_keys]


def _spooled(comparer: Comparer, row: bytes, first: bytes) -> Duplicate:
    stored = copy_reader.decode(first)
    is_different = comparer.is_different(row, stored)
    return Duplicate(Ack.SPOOLED, row_json.of_stored(stored), is_different=is_different)


def _first_try(row: bytes, events: Sequence[bytes]) -> bytes | None:
    """Return which event of its key a row is; the newest one if it may be several."""
    same = (event for event in events if is_same_event(row, event))
    return max(same, key=copy_reader.created_us, default=None)


class _Followed:
    """An event's waiter, and those who sent the same one again."""

    def __init__(self, row: bytes, waiter: Waiter) -> None:
        self.first = copy_reader.decode(row)
        self._waiter = waiter
        self._alike: list[Waiter] = []
        self._different: list[Waiter] = []

    def add(self, waiter: Waiter, *, is_different: bool) -> None:
        """Add who sent it again, or something else in its place."""
        (self._different if is_different else self._alike).append(waiter)

    def settle(self, outcome: Outcome, row: bytes = b"") -> None:
        """Answer all of them: a retry gets what the first one has got."""
        settle((self._waiter,), outcome, row)
        if isinstance(outcome, Ack):
            outcome = Duplicate(outcome, row_json.of_stored(self.first))
        settle(self._alike, outcome, row)
        if isinstance(outcome, Duplicate):
            # Where the first one is different from what is stored, these may be the same as that.
            outcome = outcome._replace(is_different=not outcome.is_different)
        settle(self._different, outcome, row)
