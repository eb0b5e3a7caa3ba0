"""A batch: events that travel to Postgres in one COPY, or into the spool, together."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Self

from ingest.delivery.outcome import Outcome, Waiter, settle
from ingest.errors import Refusal


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

    @classmethod
    def joined(cls, batches: Sequence[Self]) -> Self:
        """Return one of all that these have; if it is a single one, that."""
        first, *others = batches
        for each in others:
            first.rows += each.rows
            first.waiters += each.waiters
            first.bytes += each.bytes
            first.counted_events += each.counted_events
            first.opened_s = min(first.opened_s, each.opened_s)
        first.events_max = max(first.events_max, len(first.rows))
        first.bytes_max = max(first.bytes_max, first.bytes)
        return first

    def cut(self, events: int) -> "Batch":
        """Take out so many of the first events; return them."""
        first = Batch(events, self.bytes_max)
        first.extend(self.rows[:events], self.waiters[:events], sum(map(len, self.rows[:events])))
        first.opened_s, first.counted_events = self.opened_s, min(events, self.counted_events)
        del self.rows[:events], self.waiters[:events]
        self.bytes -= first.bytes
        self.counted_events -= first.counted_events
        return first

    def has_room(self, size: int, events: int = 1) -> bool:
        """Whether so many more rows fit in, of `size` bytes in all."""
        is_room = len(self.rows) + events <= self.events_max
        return is_room and self.bytes + size <= self.bytes_max

    def extend(self, rows: Sequence[bytes], waiters: Sequence[Waiter], size: int) -> None:
        """Add rows of `size` bytes in all, for which there is room."""
        self.rows += rows
        self.waiters += waiters
        self.bytes += size

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

    def without(self, staying: Sequence[int]) -> "Batch":
        """Take out all events but those that stay, given by index in order; return the others."""
        kept = set(staying)
        going = [at for at in range(len(self.rows)) if at not in kept]
        others = Batch(self.events_max, self.bytes_max)
        others.rows = [self.rows[at] for at in going]
        others.waiters = self.split({}, staying)
        return others

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
