"""A writer's surroundings for tests: a queue, a link to the real Postgres, senders that wait."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from ingest.delivery.committer import MERGES, Committer
from ingest.delivery.events_table import EVENTS
from ingest.delivery.fallback import Fallback
from ingest.delivery.outcome import Duplicate, Outcome, Unchecked
from ingest.delivery.quarantine import Quarantine
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.delivery.retries import Retries
from ingest.delivery.shared import Shared
from ingest.delivery.spill import Spill
from ingest.delivery.writer import Writer
from ingest.events import copy_format
from ingest.events.ids import IdSequence
from ingest.observe.metrics import Metrics
from ingest.spool import Spool
from ingest.store.failures import Outage, Unavailable
from ingest.store.health import Health
from ingest.store.link import CopyLink
from ingest.store.merge import Merged
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres
from ingest.store.sift import Sifted
from tests.support.postgres import fetch
from tests.support.rows import tail

GOOD = b'{"a": 1}'
BAD = b'{"a": "\\u0000"}'  # no event with this gets past the intake
CHECK = "ALTER TABLE events ADD CONSTRAINT test_named CHECK (event_name <> 'wrong')"
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
ids = IdSequence()


class Sender:
    """Waits for one event's outcome."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: Outcome, _row: bytes = b"") -> None:
        """Take the answer; a second one would raise InvalidStateError."""
        self.outcome.set_result(outcome)


class RetryingSender(Sender, Unchecked):
    """One who may have sent it before; it is told what it is told."""

    def __init__(self) -> None:
        Sender.__init__(self)


class CountingLink(CopyLink):
    """A real link that counts what it does."""

    copies = 0
    merges = 0
    sifts = 0

    async def copy(self, document: bytes, rows: int) -> None:
        """Count, and copy."""
        self.copies += 1
        await super().copy(document, rows)

    async def merge(
        self, document: bytes, rows: int, *, has_keys: bool, wants_earlier: bool = False
    ) -> Merged:
        """Count, and merge."""
        self.merges += 1
        return await super().merge(document, rows, has_keys=has_keys, wants_earlier=wants_earlier)

    async def sift(
        self, document: bytes, rows: int, *, has_keys: bool, wants_earlier: bool = False
    ) -> Sifted:
        """Count, and sift."""
        self.sifts += 1
        return await super().sift(document, rows, has_keys=has_keys, wants_earlier=wants_earlier)

    async def probe(self) -> None:
        """Probe, which is counted as nothing."""
        await super().probe()
        self.copies -= 1


class BreakingLink(CountingLink):
    """A link that Postgres goes away from before one of its COPYs and merges."""

    goes_at = 0

    async def copy(self, document: bytes, rows: int) -> None:
        """Copy, unless Postgres has gone."""
        self._break()
        await super().copy(document, rows)

    async def merge(
        self, document: bytes, rows: int, *, has_keys: bool, wants_earlier: bool = False
    ) -> Merged:
        """Merge, unless Postgres has gone."""
        self._break()
        return await super().merge(document, rows, has_keys=has_keys, wants_earlier=wants_earlier)

    async def sift(
        self, document: bytes, rows: int, *, has_keys: bool, wants_earlier: bool = False
    ) -> Sifted:
        """Sift, unless Postgres has gone."""
        self._break()
        return await super().sift(document, rows, has_keys=has_keys, wants_earlier=wants_earlier)

    def _break(self) -> None:
        if self.goes_at and self.copies + self.merges + self.sifts >= self.goes_at:
            raise Unavailable("gone", stored=False, outage=Outage.AWAY)


def make_row(
    params: bytes = GOOD,
    *,
    name: bytes = b"name",
    key: bytes | None = None,
    event_id: bytes | None = None,
    app_id: int = 1,
) -> bytes:
    """Return a row with an id of its own, unless one is given."""
    made, _, received = ids.next()
    times = received.row if key is None else tail(received.micros, None, key)
    return copy_format.row(copy_format.row_head(app_id), event_id or made, name, params, times)


def make_rows(number: int, *, name: bytes = b"name") -> list[bytes]:
    """Return many."""
    return [make_row(name=name) for _ in range(number)]


class Surroundings:
    """A queue, the link that its writer writes through, and what both report to."""

    writer: Writer

    def __init__(self, postgres: Postgres) -> None:
        self.metrics = Metrics()
        self.queue = EventQueue(
            events_max=10_000, bytes_max=10**8, batch_events_max=5000, batch_bytes_max=10**7
        )
        self.link = CountingLink(postgres, EVENTS)
        self.health = Health(self.link)
        self.queues = Queues(lambda: self.queue)
        self.quarantine = Quarantine(self.queues)

    def shared(self, fallback: Fallback) -> Shared:
        """Return what the writer shares with others."""
        return Shared(self.health, self.quarantine, fallback, self.metrics)

    def put_row(
        self,
        event_id: bytes,
        name: bytes,
        params: bytes,
        times: bytes,
        *,
        is_retryable: bool = False,
    ) -> Sender:
        """Queue an event; return who waits for it."""
        sender = RetryingSender() if is_retryable else Sender()
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


class PlainSurroundings(Surroundings):
    """With a writer of the plain queue."""

    def __init__(self, postgres: Postgres, spool: Spool | None = None) -> None:
        super().__init__(postgres)
        self.writer = Writer(
            self.queue, Committer(self.link), self.shared(Fallback(spool, self.metrics))
        )

    def put(self, params: bytes = GOOD, *, name: bytes = b"name") -> Sender:
        """Queue an event; return who waits for it."""
        event_id, _, received = ids.next()
        return self.put_row(event_id, name, params, received.row)


class DedupSurroundings(Surroundings):
    """With the dedup queue's writer."""

    def __init__(self, postgres: Postgres, spool: Spool | None = None) -> None:
        super().__init__(postgres)
        fallback, retries = Fallback(spool, self.metrics), Retries(spool, self.metrics)
        self.spill = Spill(self.queue, fallback, retries)
        committer = Committer(
            self.link,
            partitions=Partitions(postgres, "month", 1),
            merges=MERGES,
            wants_earlier=True,
        )
        self.writer = Writer(self.queue, committer, self.shared(fallback), retries)

    def put(
        self,
        event_id: bytes | None = None,
        *,
        name: bytes = b"name",
        params: bytes = GOOD,
        key: bytes | None = None,
        created_at: datetime | None = None,
    ) -> Sender:
        """Queue an event; return who waits for it."""
        moment = created_at or datetime.now(UTC)
        times = tail((moment - EPOCH) // timedelta(microseconds=1), None, key)
        made_id, is_retryable = event_id or ids.next()[0], bool(event_id or key)
        return self.put_row(made_id, name, params, times, is_retryable=is_retryable)

    @property
    def balance(self) -> int:
        """Return what came in less what became of it."""
        metrics = self.metrics
        gone = metrics.committed_events + metrics.failed_events + metrics.duplicate_events
        return self.queue.accepted_events - gone - metrics.spooled_events


class NotingQuarantine(Quarantine):
    """Notes of which apps it is told that their rows took time-outs."""

    def __init__(self, queues: Queues) -> None:
        super().__init__(queues)
        self.noted: list[int] = []

    def note_hung(self, app_id: int) -> None:
        """Note it."""
        self.noted.append(app_id)
        super().note_hung(app_id)


class HungSurroundings(DedupSurroundings):
    """With the writer of apps whose rows take time-outs."""

    def __init__(self, postgres: Postgres, spool: Spool) -> None:
        super().__init__(postgres, spool)
        self.quarantine = self.noting = NotingQuarantine(self.queues)
        shared = self.shared(Fallback(spool, self.metrics))
        retries = Retries(spool, self.metrics)
        self.writer = Writer(self.queue, Committer(self.link), shared, retries, is_hung=True)


async def outcome_of(sender: Sender) -> Outcome:
    """Return what one sender was told."""
    return (await outcomes_of([sender]))[0]


def row_of(outcome: Outcome) -> Any:  # noqa: ANN401 - any JSON value
    """Return the row that a duplicate is told."""
    assert isinstance(outcome, Duplicate)
    return orjson.loads(outcome.row)


async def outcomes_of(senders: Sequence[Sender]) -> list[Outcome]:
    """Return what each sender was told."""
    return list(await asyncio.wait_for(asyncio.gather(*(each.outcome for each in senders)), 20))


async def count(url: str) -> int:
    """Return how many events are stored."""
    return int((await fetch(url, "SELECT count(*) FROM events"))[0]["count"])
