"""A replayer that runs, with its probe, on the real Postgres and a spool."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from ingest.delivery import replay
from ingest.delivery.committer import Committer
from ingest.delivery.events_table import EVENTS
from ingest.delivery.fallback import Fallback
from ingest.delivery.quarantine import Quarantine
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.delivery.replay import Replayer
from ingest.delivery.shared import Shared
from ingest.observe.metrics import Metrics
from ingest.spool import Spool
from ingest.store.health import Health
from tests.delivery.surroundings import CountingLink, count
from tests.support.postgres import make_postgres

WAIT_S: Final = 30.0


class Going:
    """A replayer that runs."""

    def __init__(self, url: str, spool: Spool, commit_timeout_s: float) -> None:
        postgres = make_postgres(url, commit_timeout_s)
        self.spool = spool
        self.appended = 0
        self.url = url
        self.link = CountingLink(postgres, EVENTS)
        self.probe_link = CountingLink(postgres, EVENTS)
        self.health = Health(self.probe_link)
        self.metrics = Metrics()
        queues = Queues(
            lambda: EventQueue(events_max=10, bytes_max=10, batch_events_max=10, batch_bytes_max=10)
        )
        committer = Committer(self.link, part_rows_max=replay.PART_ROWS_MAX, is_patient=True)
        fallback = Fallback(spool, self.metrics)
        shared = Shared(self.health, Quarantine(queues), fallback, self.metrics)
        self.replayer = Replayer(spool, queues, committer, postgres, shared)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the replayer and the probe."""
        tasks = [asyncio.create_task(each.run()) for each in (self.replayer, self.health)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(self.link.close(), self.probe_link.close())

    async def append(self, rows: list[bytes]) -> None:
        """Spool a batch."""
        self.appended += len(rows)
        await self.spool.append(rows)

    async def until_empty(self) -> None:
        """Wait until all that was spooled is settled, and counted."""
        metrics = self.metrics
        await self.until(
            lambda: metrics.replayed_events + metrics.dead_lettered_events == self.appended
        )
        assert self.spool.is_empty

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(WAIT_S):
            while not is_so():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)

    async def until_stored(self, events: int) -> None:
        """Wait until so many events are stored."""
        async with asyncio.timeout(WAIT_S):
            while await count(self.url) != events:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
