"""A search of the spool for the rows of clients' keys, a piece of work at a time.

Between two pieces anything may happen to the files: what is drained meanwhile may be found or not.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from ingest.spool.failures import FAILURES
from ingest.spool.file import SpoolFile
from ingest.spool.held import HeldFiles
from ingest.spool.index import Place, row_of


class Search:
    """One search. Made anywhere; `go_on` is for the spool's thread alone."""

    def __init__(self, files: HeldFiles, keys: Sequence[bytes]) -> None:
        self.found: dict[bytes, bytes] = {}
        """The first row that is left of each key, as it was appended."""
        self._files = files
        self._pieces = self._look(keys)

    def go_on(self, stop_s: float) -> bool:
        """Search until `stop_s` of the monotonic clock; return whether there is more to do."""
        return any(time.monotonic() > stop_s for _ in self._pieces)

    def _look(self, keys: Sequence[bytes]) -> Iterator[None]:
        left = sorted(set(keys))
        for file in self._files.with_keys():
            yield from self._look_into(file, left)
            left = [key for key in left if key not in self.found]
            if not left:
                return

    def _look_into(self, file: SpoolFile, keys: Sequence[bytes]) -> Iterator[None]:
        """Look into a file. One that can't be read now is told of, and hides no other."""
        try:
            for places in file.places(keys):
                yield from self._take(file, places)
                yield
        except FAILURES as error:
            if file.name in self._files:  # not drained and deleted meanwhile
                self._files.complain(file.name, error)
        self._files.rest()

    def _take(self, file: SpoolFile, places: Sequence[Place]) -> Iterator[None]:
        """Read each batch once, and take the rows out of it."""
        wanted = (place for place in places if place.key not in self.found)
        for id_, in_batch in groupby(wanted, attrgetter("batch")):
            if blob := file.read_whole(id_):
                for place in in_batch:
                    self.found.setdefault(place.key, row_of(place, blob))
            yield
