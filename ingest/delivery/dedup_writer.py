"""The dedup queue's writer: each event is stored once, however often it is sent.

A batch goes by COPY first, for most events are new; when one of them is stored already, the batch
is merged by key, and so are the next ones, since retries come in swarms. An Idempotency-Key has
to be looked up, so a batch with one is always merged.
"""

from collections.abc import Sequence

from ingest.delivery.fallback import Fallback
from ingest.delivery.outcome import Ack, Duplicate
from ingest.delivery.queue import Batch, EventQueue
from ingest.delivery.retries import Retries
from ingest.delivery.writer import Writer
from ingest.events import copy_format, copy_reader, row_json
from ingest.observe.metrics import Metrics
from ingest.store.failures import AlreadyStored, Unavailable
from ingest.store.health import Health
from ingest.store.link import CopyLink
from ingest.store.merge import Earlier
from ingest.store.partitions import Partitions

_MERGES = 16
"""So many batches are merged behind one in which something was stored already."""


class DedupWriter(Writer):
    """One task and one connection; one is enough, and keeps retries in order."""

    def __init__(  # noqa: PLR0913 - a Writer's, and two of its own
        self,
        queue: EventQueue,
        link: CopyLink,
        health: Health,
        fallback: Fallback,
        metrics: Metrics,
        *,
        retries: Retries,
        partitions: Partitions,
    ) -> None:
        super().__init__(queue, link, health, fallback, metrics)
        self._retries = retries
        self._partitions = partitions
        self._merges_left = 0

    async def _write(self, batch: Batch) -> None:
        await self._retries.take_out(batch)
        if batch.rows:
            await super()._write(batch)

    async def _give_up(self, batch: Batch, failure: Unavailable) -> None:
        keys = self._retries.keys(batch)
        await self._fallback.take(batch, failure.reason, stored=failure.stored, keys=keys)

    async def _send(self, batch: Batch) -> None:
        await self._partitions.make_for([copy_reader.moment_ms(row) for row in batch.rows])
        document = copy_format.document(batch.rows)
        has_keys = any(map(copy_reader.has_idempotency_key, batch.rows))
        if not has_keys and not self._merges_left:
            try:
                await self._link.copy(document, len(batch.rows))
            except AlreadyStored:
                self._merges_left = _MERGES
            else:
                return
        earlier = await self._link.merge(
            document, len(batch.rows), has_keys=has_keys, wants_earlier=True
        )
        self._merges_left = _MERGES if earlier else max(0, self._merges_left - 1)
        self._answer_retries(batch, earlier)

    async def _rehearse(self, part: Sequence[bytes]) -> None:
        await self._link.rehearse_merge(copy_format.document(part), len(part))

    def _answer_retries(self, batch: Batch, earlier: Sequence[Earlier]) -> None:
        found = {each.key: each for each in earlier}
        keys = self._retries.keys(batch)
        self._retries.answer(
            batch,
            {
                index: Duplicate(Ack.COMMITTED, _stored(found[key], batch.rows[index]))
                for index, key in enumerate(keys)
                if key in found
            },
        )


def _stored(earlier: Earlier, row: bytes) -> bytes:
    """Return the row that is stored as JSON; with the retry's own parameters if those are too long.

    An honest retry has the same ones.
    """
    params = earlier.params
    if params is None:
        params = copy_reader.decode(row)["event_params"].encode()
    return row_json.row_json(
        earlier.id, earlier.name, params, earlier.created_at, earlier.timestamp
    )
