"""A search of the spool for the rows of dedup keys, a piece of work at a time.

Between two pieces anything may happen to the files: what is drained meanwhile may be found or not.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter

from ingest.events import copy_reader
from ingest.spool.failures import FAILURES, StorageDamaged
from ingest.spool.file import SpoolFile
from ingest.spool.held import HeldFiles
from ingest.spool.storage import DedupKey, Place


class Search:
    """One search. Made anywhere; `go_on` is for the spool's thread alone."""

    def __init__(self, files: HeldFiles, dedup_keys: Sequence[DedupKey]) -> None:
        self.found: dict[DedupKey, bytes] = {}
        """The first row that is left of each key, as it was appended."""
        self._files = files
        self._pieces = self._look(dedup_keys)

    def go_on(self, stop_s: float) -> bool:
        """Search until `stop_s` of the monotonic clock; return whether there is more to do."""
        return any(time.monotonic() > stop_s for _ in self._pieces)

    def _look(self, dedup_keys: Sequence[DedupKey]) -> Iterator[None]:
        left = sorted(set(dedup_keys))
        for file in self._files.with_dedup_keys():
            yield from self._look_into(file, left)
            left = [key for key in left if key not in self.found]
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
        wanted = (place for place in places if place.dedup_key not in self.found)
        for id_, in_batch in groupby(wanted, attrgetter("batch")):
            if blob := file.blob(id_):
                for place in in_batch:
                    self.found.setdefault(place.dedup_key, _row_of(place, blob))
            yield


def _row_of(place: Place, blob: bytes) -> bytes:
    """Return the row at a place in its batch's tuples; raise StorageDamaged if it is another key's.

    No sum protects where a key leads, and the wrong row may be another app's.
    """
    with suppress(ValueError):
        row = copy_reader.at(blob, place.at)
        if place.dedup_key == copy_reader.dedup_key(row):
            return row
    raise StorageDamaged("a key leads to a row that is not its own")
