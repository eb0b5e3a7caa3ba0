"""The batches in one database: their tables, and every statement that touches them.

A batch is its COPY tuples one after the other, their count and a CRC-32. What does not come back as
it was appended is quarantined: it stays where it is, and its id goes to the table `damaged`.
"""

import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Final

from ingest.spool.sqlite.failures import RAISED, corrupt
from ingest.spool.storage import Entry, Status

# The index answers what is asked when a file is adopted without a look at its batches.
SCHEMA: Final = """
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    appended_ms INTEGER NOT NULL,
    events INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    tuples BLOB NOT NULL
);
CREATE INDEX batches_events ON batches (events);
CREATE TABLE damaged (id INTEGER PRIMARY KEY, events INTEGER NOT NULL, reason TEXT NOT NULL);
"""
# By `rowid`, which `id` is another name of as long as the table's definition is undamaged.
_INSERT: Final = "INSERT INTO batches (appended_ms, events, crc32, tuples) VALUES (?, ?, ?, ?)"
_PAGE: Final = """
SELECT rowid, appended_ms, events, length(tuples) FROM batches
WHERE rowid > ? ORDER BY rowid LIMIT ?
"""
# A damaged number may be of any type, or none at all: then it is one event, at the least. The sums
# can't overflow, and are always numbers.
_DAMAGED: Final = "SELECT rowid, coalesce(max(CAST(events AS INTEGER), 1), 1) FROM damaged"
_NOTE_MISSING: Final = "INSERT OR REPLACE INTO damaged VALUES (?, ?, 'missing')"
_MISSING_ID: Final = 0  # no batch has it
_EVENTS: Final = "SELECT CAST(total(events) AS INTEGER) FROM batches"


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done meanwhile, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(*RAISED):
            connection.execute("ROLLBACK")
        raise


def insert(connection: sqlite3.Connection, blob: bytes, events: int) -> Entry:
    """Store a batch, in a transaction of its own if none was begun."""
    now_ms = time.time_ns() // 1_000_000
    stored = connection.execute(_INSERT, (now_ms, events, zlib.crc32(blob), blob))
    return Entry(stored.lastrowid or 0, now_ms, events, len(blob))


def page(connection: sqlite3.Connection, after_id: int, count_max: int) -> list[Entry]:
    """Return the next batches in the order of appending, quarantined ones too."""
    found = connection.execute(_PAGE, (after_id, count_max)).fetchall()
    ids = [after_id, *(row[0] for row in found)]
    if any(before >= after for before, after in pairwise(ids)):
        raise corrupt("the ids are out of order")  # or whoever walks along them might not arrive
    return [Entry(*(value if isinstance(value, int) else 0 for value in row)) for row in found]


def read(connection: sqlite3.Connection, entry: Entry) -> bytes:
    """Return a batch's tuples; raise ValueError if they are not what was appended."""
    query = "SELECT tuples, crc32 FROM batches WHERE rowid = ?"
    blob, crc32 = connection.execute(query, (entry.id,)).fetchone() or (b"", -1)
    if not isinstance(blob, bytes) or not is_intact(blob, crc32):
        raise ValueError("its CRC-32 differs")
    return blob


def is_intact(blob: bytes, crc32: object) -> bool:
    """Whether tuples have the sum that was stored beside them."""
    return zlib.crc32(blob) == crc32


def delete(connection: sqlite3.Connection, ids: Iterable[int]) -> set[int]:
    """Delete batches in one transaction; return the ids of those that were there."""
    query = "DELETE FROM batches WHERE rowid = ?"
    connection.execute("BEGIN IMMEDIATE")
    deleted = {id_ for id_ in ids if connection.execute(query, (id_,)).rowcount}
    connection.execute("COMMIT")
    return deleted


def quarantine(connection: sqlite3.Connection, entry: Entry, reason: str) -> None:
    """Remember that a batch is not to be returned any more."""
    connection.execute("INSERT INTO damaged VALUES (?, ?, ?)", (entry.id, entry.events, reason))


def count(connection: sqlite3.Connection) -> Status:
    """Return how many events there are, in each quarantined batch, and missing."""
    (events,) = connection.execute(_EVENTS).fetchone()
    damaged = dict(connection.execute(_DAMAGED).fetchall())
    missing = damaged.pop(_MISSING_ID, 0)
    return Status(events, damaged, missing)


def note_missing(connection: sqlite3.Connection, events: int) -> None:
    """Remember that so many events were there and are not any more."""
    connection.execute(_NOTE_MISSING, (_MISSING_ID, events))


def is_unborn(connection: sqlite3.Connection) -> bool:
    """Whether a database's process ended before it made the tables; then nothing is in it."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    return not tables and pages <= 1
