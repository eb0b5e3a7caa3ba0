"""A writer's surroundings for tests: a queue, a link to the real Postgres, senders that wait."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ingest.delivery.outcome import Outcome
from ingest.delivery.queue import EventQueue
from ingest.delivery.writer import Writer
from ingest.events import copy_format
from ingest.events.ids import IdSequence
from ingest.observe.metrics import Metrics
from ingest.store.health import Health
from ingest.store.link import CopyLink
from ingest.store.merge import Earlier
from ingest.store.postgres import Postgres
from tests.support.postgres import fetch

GOOD = b'{"a": 1}'
BAD = b'{"a": "\\u0000"}'  # no event with this gets past the intake
ids = IdSequence()


class Sender:
    """Waits for one event's outcome."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: Outcome, _row: bytes = b"") -> None:
        """Take the answer; a second one would raise InvalidStateError."""
        self.outcome.set_result(outcome)


class CountingLink(CopyLink):
    """A real link that counts what it does."""

    copies = 0
    merges = 0

    async def copy(self, document: bytes, rows: int) -> None:
        """Count, and copy."""
        self.copies += 1
        await super().copy(document, rows)

    async def merge(self, document: bytes, rows: int, **options: bool) -> list[Earlier]:
        """Count, and merge."""
        self.merges += 1
        return await super().merge(document, rows, **options)


class Surroundings:
    """A queue, the link that its writer writes through, and what both report to."""

    writer: Writer

    def __init__(self, postgres: Postgres) -> None:
        self.metrics = Metrics()
        self.queue = EventQueue(
            events_max=10_000, bytes_max=10**8, batch_events_max=5000, batch_bytes_max=10**7
        )
        self.link = CountingLink(postgres, copy_format.TABLE, copy_format.COLUMNS, copy_format.KEY)
        self.health = Health(self.link, copy_format.document([]))

    def put_row(self, event_id: bytes, name: bytes, params: bytes, times: bytes) -> Sender:
        """Queue an event; return who waits for it."""
        sender = Sender()
        self.queue.put(
            copy_format.row(copy_format.row_head(1), event_id, name, params, times), sender
        )
        return sender

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the writer."""
        task = asyncio.create_task(self.writer.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.link.close()


async def outcomes_of(senders: Sequence[Sender]) -> list[Outcome]:
    """Return what each sender was told."""
    return list(await asyncio.wait_for(asyncio.gather(*(each.outcome for each in senders)), 20))


async def count(url: str) -> int:
    """Return how many events are stored."""
    return int((await fetch(url, "SELECT count(*) FROM events"))[0]["count"])
