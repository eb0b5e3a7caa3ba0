"""A search of the spool for the events of dedup keys, a piece of work at a time.

An id is one event's, an Idempotency-Key another's each day: then of the rows of a key those are its
events that the replay, which comes to the oldest first, will store. Between two pieces anything may
happen to the files: what is drained meanwhile may be found or not.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from ingest.events import copy_reader
from ingest.spool.failures import FAILURES, StorageDamaged
from ingest.spool.storage import DedupKey, Place
from ingest.store.idempotency import KEPT


class Searchable(Protocol):
    """A file of the spool, ours or not. Any method but `pause` may raise what FAILURES lists."""

    @property
    def name(self) -> str:
        """The name of the file within its directory."""

    def find(self, dedup_keys: Sequence[DedupKey]) -> Iterator[list[Place]]:
        """Yield where the rows of keys are, or were; none between two looks at the disk."""

    def blob(self, id_: int) -> bytes:
        """Return a batch's tuples by its number; nothing if it was removed or is damaged."""

    def settle(self) -> None:
        """Have on the disk all that was read."""

    def pause(self) -> None:
        """Hear that the search goes on later; anything may happen to the file until then."""


class Search:
    """One search. Made anywhere; `go_on` is for the spool's thread alone."""

    def __init__(
        self,
        files: Callable[[], Iterable[Searchable]],
        complain: Callable[[str, BaseException], None],
        dedup_keys: Sequence[DedupKey],
    ) -> None:
        """Search `files`, the oldest first; `complain` is told of one that can't be read now."""
        self.found: dict[DedupKey, list[bytes]] = {}
        """The events of each key, the oldest first: of each the first row that is left, as it was
        appended."""
        self._files = files
        self._complain = complain
        self._file: Searchable | None = None
        self._pieces = self._look(dedup_keys)

    def go_on(self, stop_s: float) -> bool:
        """Search until `stop_s` of the monotonic clock; return whether there is more to do."""
        try:
            return any(time.monotonic() > stop_s for _ in self._pieces)
        finally:
            if self._file is not None:
                self._file.pause()

    def _look(self, dedup_keys: Sequence[DedupKey]) -> Iterator[None]:
        left = sorted(set(dedup_keys))
        for file in self._files():
            self._file = file
            rows: list[tuple[DedupKey, bytes]] = []
            yield from self._look_into(file, left, rows)
            file.pause()
            for row in rows:
                self._add(*row)
            left = [key for key in left if not self._is_done(key)]
            if not left:
                return

    def _look_into(
        self, file: Searchable, dedup_keys: Sequence[DedupKey], rows: list[tuple[DedupKey, bytes]]
    ) -> Iterator[None]:
        """Add the rows of a file. One that can't be read now is told of, and hides no other."""
        try:
            for places in file.find(dedup_keys):
                yield from self._take(file, places, rows)
                yield
        except FAILURES as error:
            self._complain(file.name, error)
        try:
            if rows:
                file.settle()
        except FAILURES as error:
            rows.clear()
            self._complain(file.name, error)

    def _take(
        self, file: Searchable, places: Sequence[Place], rows: list[tuple[DedupKey, bytes]]
    ) -> Iterator[None]:
        """Read each batch once, and take the rows out of it."""
        wanted = (place for place in places if not self._is_done(place.dedup_key))
        for id_, in_batch in groupby(wanted, attrgetter("batch")):
            if blob := file.blob(id_):
                # One by one: those before a damaged one stay.
                rows.extend((place.dedup_key, _row_of(place, blob)) for place in in_batch)
            yield

    def _is_done(self, dedup_key: DedupKey) -> bool:
        """Whether there can't be another event of a key."""
        found = self.found.get(dedup_key)
        return found is not None and not copy_reader.has_idempotency_key(found[0])

    def _add(self, dedup_key: DedupKey, row: bytes) -> None:
        events = self.found.setdefault(dedup_key, [])
        if not any(is_same_event(row, event) for event in events):
            events.append(row)


def is_same_event(row: bytes, other: bytes) -> bool:
    """Whether two rows of one dedup key are one event: not if a day lies between them.

    An id is for ever, an Idempotency-Key for KEPT.
    """
    if not copy_reader.has_idempotency_key(row):
        return True
    apart_us = abs(copy_reader.created_us(row) - copy_reader.created_us(other))
    return timedelta(microseconds=apart_us) < KEPT


def _row_of(place: Place, blob: bytes) -> bytes:
    """Return the row at a place in its batch's tuples; raise StorageDamaged if it is another key's.

    No sum protects where a key leads, and the wrong row may be another app's.
    """
    with suppress(ValueError):
        row = copy_reader.at(blob, place.at)
        if place.dedup_key == copy_reader.dedup_key(row):
            return row
    raise StorageDamaged("a key leads to a row that is not its own")
