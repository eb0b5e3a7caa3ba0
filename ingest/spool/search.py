"""A search of the spool for the events of dedup keys, a piece of work at a time.

An id is one event's, an Idempotency-Key another's each day: then of the rows of a key those are its
events that the replay, which comes to the oldest first, will store. Between two pieces anything may
happen to the files: what is drained meanwhile may be found or not.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from operator import attrgetter

from ingest.events import copy_reader
from ingest.spool.failures import FAILURES, StorageDamaged
from ingest.spool.file import SpoolFile
from ingest.spool.held import HeldFiles
from ingest.spool.storage import DedupKey, Place
from ingest.store.idempotency import KEPT


class Search:
    """One search. Made anywhere; `go_on` is for the spool's thread alone."""

    def __init__(self, files: HeldFiles, dedup_keys: Sequence[DedupKey]) -> None:
        self.found: dict[DedupKey, list[bytes]] = {}
        """The events of each key, the oldest first: of each the first row that is left, as it was
        appended."""
        self._files = files
        self._pieces = self._look(dedup_keys)

    def go_on(self, stop_s: float) -> bool:
        """Search until `stop_s` of the monotonic clock; return whether there is more to do."""
        return any(time.monotonic() > stop_s for _ in self._pieces)

    def _look(self, dedup_keys: Sequence[DedupKey]) -> Iterator[None]:
        left = sorted(set(dedup_keys))
        for file in self._files.with_dedup_keys():
            yield from self._look_into(file, left)
            left = [key for key in left if not self._is_done(key)]
            if not left:
                return

    def _look_into(self, file: SpoolFile, dedup_keys: Sequence[DedupKey]) -> Iterator[None]:
        """Look into a file. One that can't be read now is told of, and hides no other."""
        try:
            for places in file.find(dedup_keys):
                yield from self._take(file, places)
                yield
        except FAILURES as error:
            if file.name in self._files:  # not drained and deleted meanwhile
                self._files.complain(file.name, error)
        self._files.close_idle()

    def _take(self, file: SpoolFile, places: Sequence[Place]) -> Iterator[None]:
        """Read each batch once, and take the rows out of it."""
        wanted = (place for place in places if not self._is_done(place.dedup_key))
        for id_, in_batch in groupby(wanted, attrgetter("batch")):
            if blob := file.blob(id_):
                for place in in_batch:
                    self._add(place.dedup_key, _row_of(place, blob))
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
