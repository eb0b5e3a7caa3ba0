"""The index of a database: which row of which batch came with which dedup key.

A dedup key is what `copy_reader.dedup_key` makes of a row: `i`, the app's id (4 bytes) and the
event's id (16), or `k`, the app's id and the row's idempotency key (16). By either an event that is
sent again is found while the first is here.

Keys are in no order, so in one tree of a million 1,000 new ones dirty as many pages: 40 ms and 8 MB
of WAL. They go to segments of so many keys instead, the newest of which alone is written: 10 ms and
2.5 MB at most, while 100 keys are found in a million, in 16 segments, after 6 ms. What belongs to a
batch that was removed stays until the whole file goes, and leads nowhere.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ingest.spool.sqlite.failures import corrupt
from ingest.spool.storage import DedupKey, Place, PlacedKey

# A key may come again once its first batch was removed: so the batch is a part of what is unique.
SCHEMA: Final = """
CREATE TABLE keys (
    segment INTEGER NOT NULL,
    key BLOB NOT NULL,
    batch INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (segment, key, batch, at)
) WITHOUT ROWID;
"""
SEGMENT_KEYS: Final = 1 << 16
"""A segment with so many keys gets no further batch."""

_INSERT: Final = "INSERT INTO keys (segment, key, batch, at) VALUES (?, ?, ?, ?)"
_IS_THERE: Final = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'keys'"
_ANY: Final = "SELECT count(*) FROM (SELECT 1 FROM keys LIMIT 1)"
_NEXT_SEGMENT: Final = "SELECT min(segment) FROM keys WHERE segment > ?"
_QUERY_KEYS: Final = 500
# A key takes up to 36 bytes of a page of 8,192; pages that were split are at least half full.
_PAGE_KEYS: Final = 170
_PAGE_KEYS_MIN: Final = 100
_KEY_PAGES_MAX: Final = 6  # its leaf, which is split between its neighbours, and what leads there
_ROOT_PAGES: Final = 8


class DedupIndex:
    """The index of one database, with whatever connection there is at the moment."""

    def __init__(self) -> None:
        self.is_empty = True
        self._segment = 0
        self._segment_keys = 0

    def load(self, connection: sqlite3.Connection) -> None:
        """See whether anything is in it: the version before made databases without one."""
        self.is_empty = False  # unless it can be seen to be
        (tables,) = connection.execute(_IS_THERE).fetchone()
        self.is_empty = not (tables and connection.execute(_ANY).fetchone()[0])

    def pages_max(self, count: int) -> int:
        """Return how many pages the keys of a batch may dirty at most, new ones too."""
        all_pages = (self._segment_keys + count) // _PAGE_KEYS_MIN + _ROOT_PAGES
        return min(count * _KEY_PAGES_MAX, all_pages)

    def insert(self, connection: sqlite3.Connection, batch: int, keys: Sequence[PlacedKey]) -> int:
        """Add the keys of a batch, one for each row; return how many pages that takes, about."""
        if self._segment_keys >= SEGMENT_KEYS:
            self._segment += 1
            self._segment_keys = 0
        segment = self._segment
        connection.executemany(_INSERT, [(segment, key, batch, at) for key, at in sorted(keys)])
        pages = min(len(keys), self._segment_keys // _PAGE_KEYS) + len(keys) // _PAGE_KEYS + 1
        self._segment_keys += len(keys)
        self.is_empty = False
        return pages

    def places(
        self, connect: Callable[[], sqlite3.Connection], keys: Sequence[DedupKey]
    ) -> Iterator[list[Place]]:
        """Yield the places of keys segment by segment, the oldest first, and none in between."""
        segment = _next_segment(connect(), -1)
        while segment is not None:
            places: list[Place] = []
            for start in range(0, len(keys), _QUERY_KEYS):
                places += _look_up(connect(), segment, keys[start : start + _QUERY_KEYS])
                yield []
            yield sorted(places)
            segment = _next_segment(connect(), segment)


def _next_segment(connection: sqlite3.Connection, segment: int) -> int | None:
    (found,) = connection.execute(_NEXT_SEGMENT, (segment,)).fetchone()
    if found is not None and not isinstance(found, int):
        raise corrupt("a segment has no number")
    return found


def _look_up(connection: sqlite3.Connection, segment: int, keys: Sequence[DedupKey]) -> list[Place]:
    marks = ", ".join("?" * len(keys))
    query = f"SELECT batch, at, key FROM keys WHERE segment = ? AND key IN ({marks})"  # noqa: S608
    places = [Place(*found) for found in connection.execute(query, (segment, *keys))]
    for batch, at, _ in places:
        if not (isinstance(batch, int) and isinstance(at, int) and batch > 0 and at >= 0):
            raise corrupt("a key leads nowhere")
    return places
