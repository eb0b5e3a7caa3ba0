"""The pipeline: everything between intake and the tables, and who owns which background task."""

from collections.abc import Coroutine, Iterator
from typing import Any

from ingest import config
from ingest.delivery.dedup_writer import DedupWriter
from ingest.delivery.fallback import Fallback
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.delivery.replay import Replayer
from ingest.delivery.retries import Retries
from ingest.delivery.spill import Spill
from ingest.delivery.writer import Writer
from ingest.events import copy_format
from ingest.observe.metrics import Metrics
from ingest.spool import Spool
from ingest.store.health import Health
from ingest.store.link import CopyLink
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres

Task = tuple[str, Coroutine[Any, Any, None]]
"""A name, and work that must not end."""


class Pipeline:
    """Two queues with their writers; the spool, and who brings from there to Postgres."""

    def __init__(  # noqa: PLR0913 - what it is put together of
        self,
        postgres: Postgres,
        health: Health,
        partitions: Partitions,
        spool: Spool | None,
        metrics: Metrics,
        *,
        queue: config.Queue,
        writer: config.Writer,
    ) -> None:
        self._postgres = postgres
        self._health = health
        self._partitions = partitions
        self._spool = spool
        self._metrics = metrics
        self.queues = Queues(lambda: _make_queue(queue, writer))
        self.fallback = Fallback(spool, metrics)
        self._retries = Retries(spool, metrics)
        self._dedup_link, self._replay_link = make_link(postgres), make_link(postgres)
        self._links = [make_link(postgres) for _ in range(writer.connections)]

    async def open(self) -> None:
        """Connect, so that the first events need not; raise Unavailable."""
        for link in (*self._links, self._dedup_link, self._replay_link):
            await link.open()

    def tasks(self) -> Iterator[Task]:
        """Yield everything that has to run."""
        plain, dedup = self.queues.plain, self.queues.dedup
        for link in self._links:
            yield "writer", self._make_writer(link).run()
        yield "dedup writer", self._make_dedup_writer().run()
        if self._spool is not None:
            yield "spill", Spill(plain, self.fallback).run()
            yield "dedup spill", Spill(dedup, self.fallback, self._retries).run()
            yield "replayer", self._make_replayer(self._spool).run()

    async def close(self) -> None:
        """Let go of the connections."""
        for link in (*self._links, self._dedup_link, self._replay_link):
            await link.close()

    def _make_writer(self, link: CopyLink) -> Writer:
        return Writer(self.queues.plain, link, self._health, self.fallback, self._metrics)

    def _make_dedup_writer(self) -> DedupWriter:
        return DedupWriter(
            self.queues.dedup,
            self._dedup_link,
            self._health,
            self.fallback,
            self._metrics,
            retries=self._retries,
            partitions=self._partitions,
        )

    def _make_replayer(self, spool: Spool) -> Replayer:
        return Replayer(
            spool,
            self.queues,
            self._replay_link,
            self._postgres,
            self._health,
            metrics=self._metrics,
            partitions=self._partitions,
        )


def make_link(postgres: Postgres) -> CopyLink:
    """Return a connection of its own to the events table."""
    return CopyLink(postgres, copy_format.TABLE, copy_format.COLUMNS, copy_format.KEY)


def _make_queue(queue: config.Queue, writer: config.Writer) -> EventQueue:
    return EventQueue(
        events_max=queue.events_max,
        bytes_max=queue.bytes_max,
        batch_events_max=writer.batch_events_max,
        batch_bytes_max=writer.batch_bytes_max,
    )
