"""The queue between requests and writers: bounded in events and bytes, and already in batches.

Events are filed into the batch that is being gathered; a writer takes the oldest batch whole. There
is no timer: while a COPY is in flight the next batch gathers (group commit). Another COPY begins
beside it once as many events have gathered as it holds: every COPY has its own price at Postgres
and here (`python -m bench batch`), so many small ones beside each other would only slow each other
down. With 256 connections in a closed loop this makes batches of about 113 where taking what is
there made 83 (`nonito_batch_events`); a Postgres that is far away still has two COPYs under way.

Of several workers each has one COPY at a time, so that batches are larger: the COPYs of the others
keep Postgres busy meanwhile (`python -m bench scale`).

A COPY that takes much longer than usual holds up nobody but its own events: it is no measure any
more for what has to gather. Without that, one slow COPY with more than half of all clients in it
starved the others until it ended: they did 700 to 1,000 events a second of 40,000.
"""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ingest.delivery.backlog import CHUNK_S, NEARLY_FULL, NOTHING, Backlog, Size
from ingest.delivery.batch import Batch
from ingest.delivery.outcome import Waiter
from ingest.delivery.pace import Pace
from ingest.errors import Code, Refusal
from ingest.events import copy_reader
from ingest.observe.histogram import SECONDS, Histogram

SLOW_COPY_S: Final = 0.005
"""A COPY is slow behind this and three times what COPYs usually take: with 64 connections 0.7 ms.
With a Postgres that is 10 ms away, 5 ms for all would make batches of 92 out of 125."""

_SLOW_FACTOR: Final = 3.0
_USUAL_WEIGHT: Final = 1 / 16

_LATELY_S: Final = 1.0
"""A writer is kept for those who wait for little as long as there was one of them lately."""


class EventQueue:
    """Bounded in events and bytes. Only what gathers or waits counts, not what is in flight.

    A batch is opened with the room that the queue has left, so filing an event looks at its batch
    only, and what waits is counted when somebody asks.
    """

    def __init__(
        self, *, events_max: int, bytes_max: int, batch_events_max: int, batch_bytes_max: int
    ) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._batch_events_max = batch_events_max
        self._batch_bytes_max = batch_bytes_max
        self._shared: Batch | None = None
        """Of all apps, and older than the backlog."""
        self._gathering: Batch | None = None
        """The shared batch, as long as it takes events in."""
        self._backlog = Backlog(
            Size(events_max, bytes_max), Size(batch_events_max, batch_bytes_max)
        )
        self.writers = 1
        """How many take batches."""
        self._shared_until_s = 0.0
        """So long one of them is kept for those who wait for little."""
        self._idle: deque[asyncio.Future[None]] = deque()
        self._spilling = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._is_closed = False
        self._in_flight: dict[Batch, int] = {}
        self._in_copy: dict[Batch, float] = {}
        """Since when batches in flight are with a writer, and not with the spill: a writer comes
        back for more."""
        self._usual_copy_s = 0.0
        self._pace = Pace()
        self.may_pair = True
        """Whether a COPY begins beside another one that is not slow."""
        self._look: asyncio.TimerHandle | None = None
        """When a writer looks next whether a COPY in flight has become slow."""
        self._apps: set[int] = set()
        self._taken_events = 0
        self.newly_accepted: Counter[int] = Counter()
        """Events by app that are not yet told as accepted: see `count`."""
        self.on_settled: Callable[[], None] = _nothing
        """Called behind the answers of each batch."""
        self.waits_s = Histogram(SECONDS)
        """How long events were here and in a COPY; of a batch, how long its first one was."""

    @property
    def accepted_events(self) -> int:
        """Events taken in since the start; only ever grows."""
        return self._taken_events + self.waiting_events

    def count(self) -> None:
        """Have everything that waits in `newly_accepted`; what is in flight is there already."""
        for batch in self._waiting():
            self._count(batch)

    def meet(self, apps: set[int]) -> None:
        """Know whose events may come, now and later: those of one app need not be told apart."""
        self._apps = self._backlog.apps = apps

    def _waiting(self) -> Iterator[Batch]:
        if self._shared is not None:
            yield self._shared
        yield from self._backlog.chunks()

    @property
    def waiting_events(self) -> int:
        """Events that no writer has taken yet."""
        return self._backlog.events + (len(self._shared.rows) if self._shared else 0)

    @property
    def waiting_bytes(self) -> int:
        """The size in bytes of the rows that no writer has taken yet."""
        return self._backlog.bytes + (self._shared.bytes if self._shared else 0)

    @property
    def unsettled_events(self) -> int:
        """Events whose senders have no answer yet: waiting, or in a COPY."""
        return self.waiting_events + sum(len(batch.rows) for batch in self._in_flight)

    @property
    def unsettled_bytes(self) -> int:
        """The size of all unsettled rows; a batch in flight counts whole until it is settled."""
        return self.waiting_bytes + sum(self._in_flight.values())

    def put(self, row: bytes, waiter: Waiter) -> None:
        """File an event; raise Refusal when the queue is full or the server is stopping."""
        size = len(row)
        batch = self._gathering
        if (
            batch is None
            or len(batch.rows) >= batch.events_ripe
            or batch.bytes + size > batch.bytes_max
        ):
            batch = self._make_room(row, size)
        batch.rows.append(row)
        batch.waiters.append(waiter)
        batch.bytes += size

    def put_all(self, rows: Sequence[bytes], waiters: Sequence[Waiter]) -> None:
        """File events of one app that `require` has let in; 0.05 µs each."""
        if not rows:
            return
        events, size = len(rows), sum(map(len, rows))
        batch = self._gathering
        if batch is None and self._is_calm and self._is_batch(events, size):
            batch = self._open(size)
        if batch is None or not batch.has_room(size, events):
            self._gathering = None
            self._backlog.extend(copy_reader.app_id(rows[0]), rows, waiters)
            self._note_backlog()
            self._wake()
            return
        batch.extend(rows, waiters, size)
        if len(batch.rows) > batch.events_ripe:
            batch.events_ripe = batch.events_max
            self._wake()

    @property
    def _is_calm(self) -> bool:
        """Whether nothing waits."""
        return self._shared is None and not self._backlog

    def _is_batch(self, events: int, size: int) -> bool:
        """Whether so much fits into a new batch."""
        return events <= self._shared_events_max and size <= self._batch_bytes_max

    @property
    def _shared_events_max(self) -> int:
        """Of several apps there is no more in a batch than of one in its turn."""
        return self._batch_events_max if len(self._apps) <= 1 else self._backlog.chunk_events

    def require(self, rows: Sequence[bytes]) -> None:
        """Raise Refusal unless all of these can be put now."""
        events, size = len(rows), sum(map(len, rows))
        if not events:
            return
        if events > self._events_max or size > self._bytes_max:
            raise Refusal(Code.PAYLOAD_TOO_LARGE, "The batch is larger than the queue; cut it up.")
        if self._is_closed or not self._backlog.admits(
            copy_reader.app_id(rows[0]), Size(events, size), self._shared_size
        ):
            raise self._refusal()

    @property
    def _shared_size(self) -> Size:
        batch = self._shared
        return NOTHING if batch is None else Size(len(batch.rows), batch.bytes)

    async def take(self) -> Batch:
        """Wait until a batch is worth a COPY and take it whole; hand it to `done` afterwards."""
        while (batch := self._next()) is None:
            await self._wait()
        self._take(batch)
        self._in_copy[batch] = time.monotonic()
        return batch

    def _next(self) -> Batch | None:
        """Return what is to be taken now, out of what waits; None if a writer has to wait."""
        if self._shared is not None:
            return self._take_shared() if self._backlog or self._is_ripe(self._shared) else None
        backlog = self._backlog
        if backlog.is_shared and backlog.has_light:
            self._shared_until_s = time.monotonic() + _LATELY_S
        rounds = math.inf if self.writers > 1 else 1
        chunks = backlog.take(rounds=rounds, light_only=self._is_last_writer())
        return self._joined(chunks) if chunks else None

    def _is_last_writer(self) -> bool:
        """Whether all others have much, and this one is to be left to those who wait for little."""
        much = self._backlog.chunk_events
        busy = sum(batch.taken_events > much for batch in self._in_copy)
        return 0 < self.writers - 1 <= busy and time.monotonic() < self._shared_until_s

    def _take_shared(self) -> Batch | None:
        batch, self._shared, self._gathering = self._shared, None, None
        return batch

    def _joined(self, chunks: list[Batch]) -> Batch:
        for chunk in chunks:
            self._count(chunk)
        return Batch.joined(chunks)

    async def _wait(self) -> None:
        """Wait until somebody wakes this writer: also to see whether a COPY has become slow.

        Not by a timer of each wait: one is armed at most, and never cancelled.
        """
        loop = asyncio.get_running_loop()
        idle = loop.create_future()
        self._idle.append(idle)
        if not self._is_calm and self._look is None:  # else the first event wakes it
            self._look = loop.call_later(self._slow_copy_s, self._look_again)
        await idle

    def _look_again(self) -> None:
        self._look = None
        if not self._is_calm:
            self._wake()

    async def take_spill(self) -> Batch:
        """Wait until the queue is nearly full and take its oldest batch; hand it to `done`."""
        while not self._is_nearly_full():
            self._spilling.clear()
            await self._spilling.wait()
        batch = self._take_shared() or self._joined(self._backlog.take_largest())
        self._take(batch)
        return batch

    def _take(self, batch: Batch) -> None:
        batch.taken_events = len(batch.rows)
        self._taken_events += len(batch.rows)
        self._count(batch)
        self._in_flight[batch] = batch.bytes

    def _count(self, batch: Batch) -> None:
        """Count a batch's rows by app, each once: 0.2 µs, nothing as long as there is one app."""
        new = len(batch.rows) - batch.counted_events
        if not new:
            return
        if len(self._apps) == 1:
            self.newly_accepted[next(iter(self._apps))] += new
        else:
            self.newly_accepted.update(copy_reader.count_apps(batch.rows[-new:]))
        batch.counted_events += new

    def _is_nearly_full(self) -> bool:
        return (
            self.waiting_events >= self._events_max * NEARLY_FULL
            or self.waiting_bytes >= self._bytes_max * NEARLY_FULL
        )

    def _is_ripe(self, batch: Batch) -> bool:
        """Whether a batch is to be taken now; if not, see that a writer is woken when it is."""
        if batch is not self._gathering:
            return True
        slow_since_s = time.monotonic() - self._slow_copy_s
        in_copy = max(
            (len(each.rows) for each, since_s in self._in_copy.items() if since_s > slow_since_s),
            default=0,
        )
        if in_copy and not self.may_pair:
            return False  # whose writer comes back, or it becomes slow
        batch.events_ripe = min(in_copy - 1, batch.events_max)
        return len(batch.rows) >= in_copy

    def done(self, batch: Batch) -> None:
        """Forget a batch whose outcome is known."""
        del self._in_flight[batch]
        # Behind the answers, which a writer has sent in a turn that is due before this one.
        asyncio.get_running_loop().call_soon(self._note_wait, batch.opened_s, batch.taken_events)
        since_s = self._in_copy.pop(batch, None)
        if since_s is not None:
            self._learn(batch.taken_events, time.monotonic() - since_s)
        if not self._in_flight and self._is_calm:
            self._drained.set()

    def _note_wait(self, opened_s: float, events: int) -> None:
        self.waits_s.observe(time.monotonic() - opened_s, events)
        self.on_settled()

    def split_off(self, batch: Batch) -> Batch:
        """Move what is left of a batch into one of its own, to be handed to `done` as well.

        So its COPY is over, and it is no measure any more for what has to gather.
        """
        rest = Batch(batch.events_max, batch.bytes_max)
        rest.rows, rest.waiters = batch.rows, batch.waiters
        rest.bytes = sum(map(len, rest.rows))
        rest.opened_s, rest.taken_events = batch.opened_s, len(rest.rows)
        batch.rows, batch.waiters = [], []
        batch.taken_events -= rest.taken_events
        self._in_flight[rest] = rest.bytes
        return rest

    @property
    def _slow_copy_s(self) -> float:
        return max(SLOW_COPY_S, _SLOW_FACTOR * self._usual_copy_s)

    def _learn(self, rows: int, copy_s: float) -> None:
        """Follow what COPYs take; one that is slow counts as if it were just not."""
        if rows and (copy_s > CHUNK_S or self._backlog.is_cut):  # else it has nothing to say
            self._pace.note(rows, copy_s, is_full=rows >= self._backlog.chunk_events)
            self._backlog.keep_pace(self._pace.row_s)
        usual_s = self._usual_copy_s
        self._usual_copy_s += (min(copy_s, self._slow_copy_s) - usual_s) * _USUAL_WEIGHT

    def close(self) -> None:
        """Take in no further event; what is here can still be taken out."""
        self._is_closed = True
        self._gathering = None  # so that the next `put` has to open a batch, and can't

    async def drain(self) -> None:
        """Wait until every event taken in is settled."""
        await self._drained.wait()

    def refuse_all(self, refusal: Refusal) -> None:
        """Answer everybody who still waits, in flight or not; for the end of the process."""
        for batch in (*self._in_flight, *self._waiting()):
            batch.refuse(refusal)

    def _make_room(self, row: bytes, size: int) -> Batch:
        """Return a batch with room for a row, and wake a writer that waits for it."""
        batch = self._gathering
        if batch is not None and batch.has_room(size):
            batch.events_ripe = batch.events_max  # this event makes it ripe; look no more
            self._wake()
            return batch
        return self._open(size) if self._is_calm else self._make_lane_room(row, size)

    def _make_lane_room(self, row: bytes, size: int) -> Batch:
        self._gathering = None
        app_id, backlog = copy_reader.app_id(row), self._backlog
        if self._is_closed or not backlog.admits(app_id, Size(1, size), self._shared_size):
            raise self._refusal()
        batch = backlog.room(app_id, size)
        self._note_backlog()
        if self._idle and (backlog.is_light(app_id) or not self._is_last_writer()):
            self._wake()
        return batch

    def _note_backlog(self) -> None:
        self._drained.clear()
        if self._is_nearly_full():
            self._spilling.set()

    def _open(self, size: int) -> Batch:
        if self._is_closed or size > self._bytes_max:
            raise self._refusal()
        batch = self._shared = self._gathering = Batch(
            min(self._shared_events_max, self._events_max),
            max(size, min(self._batch_bytes_max, self._bytes_max)),
        )
        self._drained.clear()
        self._wake()
        return batch

    def _wake(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return

    def _refusal(self) -> Refusal:
        if self._is_closed:
            return Refusal(Code.SHUTTING_DOWN, "The server is stopping; send the event again.")
        return Refusal(Code.OVERLOADED, "The queue is full; send the event again in a moment.")


def _nothing() -> None:
    """Do nothing."""
