"""The pipeline: everything between intake and the tables, and who owns which background task."""

from collections.abc import Coroutine, Iterator
from typing import Any

from ingest import config
from ingest.delivery import replay
from ingest.delivery.committer import MERGES, PART_ROWS_MAX, Committer
from ingest.delivery.fallback import Fallback
from ingest.delivery.links import Links
from ingest.delivery.quarantine import Quarantine
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.delivery.replay import Replayer
from ingest.delivery.retries import Retries
from ingest.delivery.shared import Shared
from ingest.delivery.spill import Spill
from ingest.delivery.writer import GATHER_S, Writer
from ingest.observe.metrics import Metrics
from ingest.spool import Spool
from ingest.store.health import Health
from ingest.store.link import CopyLink
from ingest.store.nodes import Nodes
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres

Task = tuple[str, Coroutine[Any, Any, None]]
"""A name, and work that must not end."""


class Pipeline:
    """The queues with their writers; the spool, and who brings from there to Postgres.

    More than six parts: this is where delivery is put together.
    """

    def __init__(  # noqa: PLR0913
        self,
        postgres: Postgres,
        links: Links,
        health: Health,
        partitions: Partitions,
        spool: Spool | None,
        metrics: Metrics,
        *,
        queue: config.Queue,
        writer: config.Writer,
    ) -> None:
        self._postgres = postgres
        self._nodes = Nodes(postgres)
        self._partitions = partitions
        self._spool = spool
        self.queues = Queues(lambda: _make_queue(queue, writer))
        self._quarantine = Quarantine(self.queues)
        self.fallback = Fallback(spool, metrics)
        self.fallback.reserve.apps = self.queues.apps
        self._shared = Shared(health, self._quarantine, self.fallback, metrics)
        self._retries = Retries(spool, metrics)
        self._links = links
        self.queues.plain.writers = len(links.plain)

    @property
    def nodes_away(self) -> int:
        """How many nodes of Citus are away, as far as this process knows."""
        return self._nodes.away

    async def open(self) -> None:
        """Connect, so that the first events need not; raise Unavailable."""
        await self._links.open()

    def tasks(self) -> Iterator[Task]:
        """Yield everything that has to run."""
        queues = self.queues
        plain, dedup, apart, hung = queues.plain, queues.dedup, queues.apart, queues.hung
        for link in self._links.plain:
            yield "writer", Writer(plain, self._asking(Committer(link)), self._shared).run()
        yield "dedup writer", self._dedup_writer(dedup, self._links.dedup).run()
        yield "quarantine's writer", self._dedup_writer(apart, self._links.apart).run()
        yield "hung apps' writer", self._dedup_writer(hung, self._links.hung).run()
        yield "quarantine", self._quarantine.run()
        yield "nodes", self._nodes.run()
        if self._postgres.turns.is_shared:
            yield "turns", self._links.watch()
        if self._spool is not None:
            yield "spill", Spill(plain, self.fallback).run()
            yield "dedup spill", Spill(dedup, self.fallback, self._retries).run()
            yield "quarantine's spill", Spill(apart, self.fallback, self._retries).run()
            yield "hung apps' spill", Spill(hung, self.fallback, self._retries).run()
            yield "replayer", self._replayer(self._spool).run()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._links.close()

    def _dedup_writer(self, queue: EventQueue, link: CopyLink) -> Writer:
        is_apart = queue is self.queues.apart  # nearly each of its batches has a refused row
        committer = Committer(
            link,
            partitions=self._partitions,
            merges=MERGES,
            wants_earlier=True,
            part_rows_max=replay.PART_ROWS_MAX if is_apart else PART_ROWS_MAX,
        )
        return Writer(
            queue,
            self._asking(committer),
            self._shared,
            self._retries,
            gather_s=GATHER_S if is_apart else 0.0,
            is_hung=queue is self.queues.hung,
        )

    def _replayer(self, spool: Spool) -> Replayer:
        committer = Committer(
            self._links.replay,
            partitions=self._partitions,
            part_rows_max=replay.PART_ROWS_MAX,
            is_patient=True,
        )
        committer = self._asking(committer)
        return Replayer(spool, self.queues, committer, self._postgres, self._shared)

    def _asking(self, committer: Committer) -> Committer:
        """Have it ask which nodes are away."""
        committer.nodes = self._nodes
        return committer


def _make_queue(queue: config.Queue, writer: config.Writer) -> EventQueue:
    return EventQueue(
        events_max=queue.events_max,
        bytes_max=queue.bytes_max,
        batch_events_max=writer.batch_events_max,
        batch_bytes_max=writer.batch_bytes_max,
    )
