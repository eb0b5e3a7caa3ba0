"""The backlog: what no COPY has taken yet, by app, so that no app waits for all of another one's.

It begins where a full batch waits for a writer already. From then on each app has a lane, first in
first out, in chunks; a writer takes a chunk of each lane in turn. So who waits for little is
overtaken by a chunk of each other app at most, however much these have here.

An app alone may fill the queue. Of a queue that is nearly full an app gets no more than its even
share among those who wait. Beyond the queue's limits there is a reserve, an eighth of them, cut
into even parts for all apps that this process has met: what an app has within its part is never
refused, whatever others hold.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from ingest.delivery.batch import Batch
from ingest.delivery.outcome import Waiter

RESERVE_PART: Final = 8
"""The reserve is one part of so many of the queue's limits, and on top of them."""
CHUNK_PART: Final = 5
"""A chunk is one part of so many of a full batch: 1,000 events, which a COPY takes in 4 ms."""
CHUNK_S: Final = 0.01
"""Nor is a chunk of more than a COPY takes in this time, where a row takes Postgres long."""
NEARLY_FULL: Final = 0.75


class Size(NamedTuple):
    """Some events, and the bytes of their rows."""

    events: int
    bytes: int

    def plus(self, other: "Size") -> "Size":
        """Return both."""
        return Size(self.events + other.events, self.bytes + other.bytes)

    def times(self, factor: float) -> "Size":
        """Return so many times as much, or a part of it."""
        return Size(int(self.events * factor), int(self.bytes * factor))

    def is_within(self, limit: "Size") -> bool:
        """Whether it is no more than that."""
        return self.events <= limit.events and self.bytes <= limit.bytes


NOTHING: Final = Size(0, 0)


class Lane:
    """What waits of one app, the oldest chunk first."""

    __slots__ = ("bytes", "chunks", "events")

    def __init__(self) -> None:
        self.chunks: deque[Batch] = deque()
        self.events = 0
        self.bytes = 0

    @property
    def size(self) -> Size:
        """How much it is."""
        return Size(self.events, self.bytes)


class Backlog:
    """The lanes of one queue; whose turn is next comes first."""

    def __init__(self, limit: Size, batch: Size) -> None:
        self._limit = limit
        self._nearly_full = limit.times(NEARLY_FULL)
        self._batch = batch
        self._chunk_events_max = max(1, batch.events // CHUNK_PART)
        self.chunk_events = self._chunk_events_max
        """So many events of an app are taken in its turn, at most."""
        self._lanes: dict[int, Lane] = {}
        self.events = 0
        self.bytes = 0
        self.apps: Collection[int] = ()
        """All apps that this process has met."""

    def __bool__(self) -> bool:
        return bool(self._lanes)

    @property
    def is_shared(self) -> bool:
        """Whether several apps wait here."""
        return len(self._lanes) > 1

    @property
    def has_light(self) -> bool:
        """Whether one waits for little."""
        return any(map(self.is_light, self._lanes))

    @property
    def is_cut(self) -> bool:
        """Whether chunks are smaller than they would be where rows take little."""
        return self.chunk_events < self._chunk_events_max

    def keep_pace(self, row_s: float) -> None:
        """Cut chunks by what a row adds to a COPY, as long as there are several apps."""
        events = self._chunk_events_max
        if len(self.apps) > 1 and row_s * events > CHUNK_S:
            events = max(1, int(CHUNK_S / row_s))
        self.chunk_events = events

    @property
    def _batch_limit(self) -> Size:
        if self.chunk_events == self._chunk_events_max:
            return self._batch
        return Size(self.chunk_events * CHUNK_PART, self._batch.bytes)

    def chunks(self) -> Iterator[Batch]:
        """Yield everything that waits."""
        for lane in self._lanes.values():
            yield from lane.chunks

    def admits(self, app_id: int, more: Size, elsewhere: Size = NOTHING) -> bool:
        """Return whether an app may add so much, beside what waits elsewhere in the queue."""
        waiting = Size(
            self.events + elsewhere.events + more.events, self.bytes + elsewhere.bytes + more.bytes
        )
        if waiting.is_within(self._nearly_full):
            return True
        lane = self._lanes.get(app_id)
        held = lane.size.plus(more) if lane else more
        waiting_apps = len(self._lanes) + (lane is None)
        if waiting.is_within(self._limit) and held.is_within(self._limit.times(1 / waiting_apps)):
            return True
        return held.is_within(self._limit.times(1 / (RESERVE_PART * max(1, len(self.apps)))))

    def room(self, app_id: int, size: int) -> Batch:
        """Return the chunk for a row of `size` bytes, which is admitted; it counts from now on."""
        lane = self._lanes.get(app_id)
        if lane is None:
            lane = self._lanes[app_id] = Lane()
        if not lane.chunks or not lane.chunks[-1].has_room(size):
            lane.chunks.append(Batch(self.chunk_events, max(size, self._batch.bytes)))
        self._count(lane, 1, size)
        return lane.chunks[-1]

    def extend(self, app_id: int, rows: Sequence[bytes], waiters: Sequence[Waiter]) -> None:
        """File events of an app, which are admitted."""
        begins = [0, *accumulate(map(len, rows))]
        start = 0
        while start < len(rows):
            begin, first = begins[start], len(rows[start])
            chunk = self.room(app_id, first)
            stop = min(len(rows), start + chunk.events_max - len(chunk.rows))
            left = chunk.bytes_max - chunk.bytes
            end = bisect_right(begins, begin + left, start, stop + 1) - 1
            size = begins[end] - begin
            chunk.extend(rows[start:end], waiters[start:end], size)
            self._count(self._lanes[app_id], end - start - 1, size - first)
            start = end

    def is_light(self, app_id: int) -> bool:
        """Return whether an app waits for so little that all of it goes in its next turn."""
        return self._lanes[app_id].events <= self.chunk_events

    def take(self, *, rounds: float = math.inf, light_only: bool = False) -> list[Batch]:
        """Take a chunk of each lane in turn, in so many rounds, as many as fit into a batch.

        Of a lane alone as many as fit. With `light_only` none of a lane that has several.
        """
        lanes = self._lanes
        return self._take(
            [app_id for app_id in lanes if not light_only or self.is_light(app_id)],
            rounds if len(lanes) > 1 else math.inf,
        )

    def take_largest(self) -> list[Batch]:
        """Take what fits into a batch of the lane that has the most."""
        return self._take([max(self._lanes, key=lambda app_id: self._lanes[app_id].size)], math.inf)

    def _take(self, app_ids: Sequence[int], rounds: float) -> list[Batch]:
        taken: list[Batch] = []
        size, limit = NOTHING, self._batch_limit
        order = deque((app_id, 1) for app_id in app_ids)
        while order:
            app_id, turn = order.popleft()
            chunk = self._lanes[app_id].chunks[0]
            size = size.plus(Size(min(len(chunk.rows), self.chunk_events), chunk.bytes))
            if taken and not size.is_within(limit):
                break
            taken.append(self._pop(app_id))
            if app_id in self._lanes and turn < rounds:
                order.append((app_id, turn + 1))
        return taken

    def _pop(self, app_id: int) -> Batch:
        """Take an app's oldest chunk; its next one has to wait for its turn."""
        lane = self._lanes.pop(app_id)
        chunk = lane.chunks[0]
        if len(chunk.rows) > self.chunk_events:
            chunk = chunk.cut(self.chunk_events)
        else:
            lane.chunks.popleft()
        if lane.chunks:
            self._lanes[app_id] = lane
        self._count(lane, -len(chunk.rows), -chunk.bytes)
        return chunk

    def _count(self, lane: Lane, events: int, size: int) -> None:
        lane.events += events
        lane.bytes += size
        self.events += events
        self.bytes += size
