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
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from ingest.delivery.outcome import Outcome, Waiter, settle
from ingest.errors import Code, Refusal
from ingest.events import copy_reader
from ingest.observe.histogram import SECONDS, Histogram

SLOW_COPY_S: Final = 0.005
"""A COPY is slow behind this and three times what COPYs usually take: with 64 connections 0.7 ms.
With a Postgres that is 10 ms away, 5 ms for all would make batches of 92 out of 125."""

_SLOW_FACTOR: Final = 3.0
_USUAL_WEIGHT: Final = 1 / 16

_NEARLY_FULL: Final = 0.75


class Batch:
    """Events that travel together: rows and, at the same index, who waits for each."""

    __slots__ = (
        "bytes",
        "bytes_max",
        "counted_events",
        "dedup_keys",
        "events_max",
        "events_ripe",
        "opened_s",
        "rows",
        "taken_events",
        "waiters",
    )

    def __init__(self, events_max: int, bytes_max: int) -> None:
        self.events_max = events_max
        self.bytes_max = bytes_max
        self.events_ripe = events_max
        """The event after so many has to wake a writer, or needs another batch."""
        self.rows: list[bytes] = []
        self.waiters: list[Waiter] = []
        self.dedup_keys: list[bytes] = []
        """What each row is known by when it is sent again; none while nobody has asked."""
        self.bytes = 0
        self.opened_s = time.monotonic()
        self.counted_events = 0
        """So many of its first are counted as accepted."""
        self.taken_events = 0
        """So many it had when it was taken out of the queue."""

    def has_room(self, size: int, events: int = 1) -> bool:
        """Whether so many more rows fit in, of `size` bytes in all."""
        is_room = len(self.rows) + events <= self.events_max
        return is_room and self.bytes + size <= self.bytes_max

    def answer(self, outcomes: Mapping[int, Outcome]) -> None:
        """Take events out, given by index, and tell their senders what became of them."""
        self.split(outcomes, [at for at in range(len(self.rows)) if at not in outcomes])

    def split(self, outcomes: Mapping[int, Outcome], staying: Collection[int]) -> list[Waiter]:
        """Take out all events but those that stay, given by index.

        Those with an outcome have their senders told; returns who waits for the others.
        """
        rows, waiters = self.rows, self.waiters
        self.rows = [rows[at] for at in staying]
        self.waiters = [waiters[at] for at in staying]
        if self.dedup_keys:
            self.dedup_keys = [self.dedup_keys[at] for at in staying]
        for at, outcome in outcomes.items():
            settle((waiters[at],), outcome, rows[at])
        gone = outcomes.keys() | set(staying)
        return [waiter for at, waiter in enumerate(waiters) if at not in gone]

    def refuse(self, refusal: Refusal) -> None:
        """Take all events out and tell their senders that they are refused."""
        rows = self.rows
        for row, waiter in zip(rows, self.release(), strict=True):
            settle((waiter,), refusal, row)

    def release(self) -> list[Waiter]:
        """Empty the batch; return everybody who still waits, for the caller to settle."""
        waiters = self.waiters
        self.rows, self.waiters, self.dedup_keys = [], [], []
        return waiters


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
        self._batches: deque[Batch] = deque()
        self._gathering: Batch | None = None
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
        self.may_pair = True
        """Whether a COPY begins beside another one that is not slow."""
        self._look: asyncio.TimerHandle | None = None
        """When a writer looks next whether a COPY in flight has become slow."""
        self.apps: set[int] = set()
        """Whose events may come, if it is known: those of one app need not be told apart."""
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
        for batch in self._batches:
            self._count(batch)

    @property
    def waiting_events(self) -> int:
        """Events that no writer has taken yet."""
        return sum(len(batch.rows) for batch in self._batches)

    @property
    def waiting_bytes(self) -> int:
        """The size in bytes of the rows that no writer has taken yet."""
        return sum(batch.bytes for batch in self._batches)

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
            batch = self._make_room(size)
        batch.rows.append(row)
        batch.waiters.append(waiter)
        batch.bytes += size

    def put_all(self, rows: Sequence[bytes], waiters: Sequence[Waiter]) -> None:
        """File events that `require` has let in, at once if they fit into the batch that gathers.

        Otherwise the first one by itself, which may open another: 0.2 µs, where at once each of
        them takes 0.05.
        """
        start, size = 0, sum(map(len, rows))
        while start < len(rows):
            batch = self._gathering
            if batch is not None and batch.has_room(size, len(rows) - start):
                self._extend(batch, rows[start:], waiters[start:], size)
                return
            self.put(rows[start], waiters[start])
            size -= len(rows[start])
            start += 1

    def _extend(
        self, batch: Batch, rows: Sequence[bytes], waiters: Sequence[Waiter], size: int
    ) -> None:
        batch.rows += rows
        batch.waiters += waiters
        batch.bytes += size
        if len(batch.rows) > batch.events_ripe:
            batch.events_ripe = batch.events_max
            self._wake()

    def require(self, rows: Sequence[bytes]) -> None:
        """Raise Refusal unless all of these can be put now."""
        events, size = len(rows), sum(map(len, rows))
        if not events:
            return
        if events > self._events_max or size > self._bytes_max:
            raise Refusal(Code.PAYLOAD_TOO_LARGE, "The batch is larger than the queue; cut it up.")
        events_left = self._events_max - self.waiting_events
        bytes_left = self._bytes_max - self.waiting_bytes
        if self._is_closed or events_left < events or bytes_left < size:
            raise self._refusal()

    async def take(self) -> Batch:
        """Wait until a batch is worth a COPY and take it whole; hand it to `done` afterwards."""
        while not self._batches or not self._is_ripe(self._batches[0]):
            await self._wait()
        batch = self._take()
        self._in_copy[batch] = time.monotonic()
        return batch

    async def _wait(self) -> None:
        """Wait until somebody wakes this writer: also to see whether a COPY has become slow.

        Not by a timer of each wait: one is armed at most, and never cancelled.
        """
        loop = asyncio.get_running_loop()
        idle = loop.create_future()
        self._idle.append(idle)
        if self._batches and self._look is None:  # else the first event wakes it
            self._look = loop.call_later(self._slow_copy_s, self._look_again)
        await idle

    def _look_again(self) -> None:
        self._look = None
        if self._batches:
            self._wake()

    async def take_spill(self) -> Batch:
        """Wait until the queue is nearly full and take its oldest batch; hand it to `done`."""
        while not self._is_nearly_full():
            self._spilling.clear()
            await self._spilling.wait()
        return self._take()

    def _take(self) -> Batch:
        batch = self._batches.popleft()
        if batch is self._gathering:
            self._gathering = None
        batch.taken_events = len(batch.rows)
        self._taken_events += len(batch.rows)
        self._count(batch)
        self._in_flight[batch] = batch.bytes
        return batch

    def _count(self, batch: Batch) -> None:
        """Count a batch's rows by app, each once: 0.2 µs, nothing as long as there is one app."""
        new = len(batch.rows) - batch.counted_events
        if not new:
            return
        if len(self.apps) == 1:
            self.newly_accepted[next(iter(self.apps))] += new
        else:
            self.newly_accepted.update(copy_reader.count_apps(batch.rows[-new:]))
        batch.counted_events += new

    def _is_nearly_full(self) -> bool:
        return (
            self.waiting_events >= self._events_max * _NEARLY_FULL
            or self.waiting_bytes >= self._bytes_max * _NEARLY_FULL
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
            self._learn(time.monotonic() - since_s)
        if not self._in_flight and not self._batches:
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

    def _learn(self, copy_s: float) -> None:
        """Follow what COPYs take; one that is slow counts as if it were just not."""
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
        for batch in (*self._in_flight, *self._batches):
            batch.refuse(refusal)

    def _make_room(self, size: int) -> Batch:
        """Return a batch with room for a row of `size`, and wake a writer that waits for one."""
        batch = self._gathering
        if batch is not None and batch.has_room(size):
            batch.events_ripe = batch.events_max  # this event makes it ripe; look no more
        else:
            batch = self._open(size)
        self._wake()
        return batch

    def _open(self, size: int) -> Batch:
        events_left = self._events_max - self.waiting_events
        bytes_left = self._bytes_max - self.waiting_bytes
        if self._is_closed or events_left < 1 or bytes_left < size:
            raise self._refusal()
        batch = self._gathering = Batch(
            min(self._batch_events_max, events_left),
            max(size, min(self._batch_bytes_max, bytes_left)),
        )
        self._batches.append(batch)
        self._drained.clear()
        if self._is_nearly_full():
            self._spilling.set()
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
