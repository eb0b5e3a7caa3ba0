"""The works: everything between intake and the tables, and who owns which background task."""

from collections.abc import Coroutine, Iterator
from typing import Any

from ingest import config
from ingest.observe.metrics import Books
from ingest.pipeline import rows
from ingest.pipeline.careful import CarefulWriter
from ingest.pipeline.lanes import Lanes
from ingest.pipeline.overflow import Overflow
from ingest.pipeline.queue import EventQueue
from ingest.pipeline.replay import Replayer
from ingest.pipeline.retries import Retries
from ingest.pipeline.shelter import Shelter
from ingest.pipeline.spool import Spool
from ingest.pipeline.writer import Writer
from ingest.store.health import Health
from ingest.store.link import CopyLink
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres

Task = tuple[str, Coroutine[Any, Any, None]]
"""A name, and work that must not end."""


class Works:
    """Two lanes with their writers; the spool, and who brings from there to Postgres."""

    def __init__(  # noqa: PLR0913 - what it is put together of
        self,
        postgres: Postgres,
        health: Health,
        partitions: Partitions,
        spool: Spool | None,
        books: Books,
        *,
        queue: config.Queue,
        writer: config.Writer,
    ) -> None:
        self._postgres = postgres
        self._health = health
        self._partitions = partitions
        self._spool = spool
        self._books = books
        self.lanes = Lanes(lambda: _make_queue(queue, writer))
        self.shelter = Shelter(spool, books)
        self._retries = Retries(spool, books)
        self._careful_link, self._replay_link = make_link(postgres), make_link(postgres)
        self._links = [make_link(postgres) for _ in range(writer.connections)]

    async def open(self) -> None:
        """Connect, so that the first events need not; raise Unavailable."""
        for link in (*self._links, self._careful_link, self._replay_link):
            await link.open()

    def tasks(self) -> Iterator[Task]:
        """Yield everything that has to run."""
        plain, careful = self.lanes.plain, self.lanes.careful
        for link in self._links:
            yield "writer", self._make_writer(link).run()
        yield "careful writer", self._make_careful_writer().run()
        if self._spool is not None:
            yield "overflow", Overflow(plain, self.shelter).run()
            yield "careful overflow", Overflow(careful, self.shelter, self._retries).run()
            yield "replayer", self._make_replayer(self._spool).run()

    async def close(self) -> None:
        """Let go of the connections."""
        for link in (*self._links, self._careful_link, self._replay_link):
            await link.close()

    def _make_writer(self, link: CopyLink) -> Writer:
        return Writer(self.lanes.plain, link, self._health, self.shelter, self._books)

    def _make_careful_writer(self) -> CarefulWriter:
        return CarefulWriter(
            self.lanes.careful,
            self._careful_link,
            self._health,
            self.shelter,
            self._books,
            retries=self._retries,
            partitions=self._partitions,
        )

    def _make_replayer(self, spool: Spool) -> Replayer:
        return Replayer(
            spool,
            self.lanes,
            self._replay_link,
            self._postgres,
            self._health,
            books=self._books,
            partitions=self._partitions,
        )


def make_link(postgres: Postgres) -> CopyLink:
    """Return a connection of its own to the events table."""
    return CopyLink(postgres, rows.TABLE, rows.COLUMNS, rows.KEY)


def _make_queue(queue: config.Queue, writer: config.Writer) -> EventQueue:
    return EventQueue(
        events_max=queue.events_max,
        bytes_max=queue.bytes_max,
        batch_events_max=writer.batch_events_max,
        batch_bytes_max=writer.batch_bytes_max,
    )
