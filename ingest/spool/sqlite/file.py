"""One database of the spool, with the connection that it has at the moment."""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ingest.spool.failures import is_disk_full
from ingest.spool.sqlite import batches, database
from ingest.spool.sqlite.database import PAGE_BYTES, WAL, WAL_BYTES_MAX, beside
from ingest.spool.sqlite.failures import RAISED, classified
from ingest.spool.sqlite.index import DedupIndex
from ingest.spool.sqlite.wal import FRAME_HEAD_BYTES
from ingest.spool.storage import DedupKey, Entry, Place, PlacedKey, Recovery, Status

_BATCH_PAGES: Final = 5  # besides those that its tuples fill: leaves of the table and the index
_CHAIN_BYTES: Final = 4


class SqliteFile:
    """Implements `StorageFile`, and `StorageReader` if it is not writable."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection | None = None,
        *,
        is_writable: bool = True,
        open_for_reading: Callable[[Path], sqlite3.Connection] = database.open_for_reading,
    ) -> None:
        self._path = path
        self._connection = connection
        self._is_writable = is_writable
        self._open_for_reading = open_for_reading
        self._index = DedupIndex()
        self._pending_bytes = 0
        self._places: list[database.Place | None] = []
        """Where the database and its WAL lay when this connection had first written."""
        self._copy: TemporaryDirectory[str] | None = None

    @property
    def path(self) -> Path:
        """Where the database is."""
        return self._path

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def is_in_place(self) -> bool:
        """Whether the database and the WAL that are written to have their names still."""
        with classified():
            found = [database.place(path) for path in (self._path, beside(self._path, WAL))]
        if None in found:
            return False
        self._places = self._places or found
        return found == self._places

    @property
    def is_cut_off(self) -> bool:
        """Whether less than a page is left of the database."""
        with classified():
            return database.is_cut_off(self._path)

    @property
    def is_overdue(self) -> bool:
        """Whether the WAL has grown so long that it is time for a checkpoint."""
        return self._is_writable and self._pending_bytes > WAL_BYTES_MAX

    @property
    def has_dedup_keys(self) -> bool:
        """Whether a key may be in the index."""
        return not self._index.is_empty

    @property
    def disk_bytes(self) -> int:
        """What the database and its WAL take on the disk."""
        with classified():
            return database.size(self._path) + database.wal_size(self._path)

    @classified()
    def recover(self) -> Recovery:
        """Find what is in the WAL behind a broken frame, as SQLite does not."""
        wal = database.read_wal(self._path)
        if wal is None or wal.is_straight:
            if self._is_writable:
                database.sync_wal(self._path)
            return Recovery()
        if self._is_writable:
            try:
                database.mend(self._path, wal)
            except OSError as error:
                if not (wal.is_cut_short and is_disk_full(error)):
                    raise
                database.cut(self._path, wal)  # SQLite finds all of it, and a replay makes room
        else:
            self._copy = TemporaryDirectory(prefix="nonito-spool-")
            database.copy_mended(self._path, wal, Path(self._copy.name))
        return Recovery(wal.is_damaged, wal.lost_pages)

    @classified()
    def append(self, blob: bytes, events: int, dedup_keys: Sequence[PlacedKey] = ()) -> Entry:
        """Store a batch, and its keys in the same transaction; return its entry."""
        connection, pages = self._connect(), _BATCH_PAGES - 2
        if dedup_keys:
            with batches.transaction(connection):
                entry = batches.insert(connection, blob, events)
                pages += self._index.insert(connection, entry.id, dedup_keys)
        else:
            entry = batches.insert(connection, blob, events)
        self._pending_bytes += len(blob) + pages * PAGE_BYTES
        return entry

    def append_bytes_max(self, size: int, dedup_keys: int) -> int:
        """Return what a batch may add to the WAL, and once more to the database, at most."""
        size += self._index.pages_max(dedup_keys) * PAGE_BYTES
        pages = size // (PAGE_BYTES - _CHAIN_BYTES) + _BATCH_PAGES
        return 2 * pages * (PAGE_BYTES + FRAME_HEAD_BYTES)

    @classified()
    def status(self) -> Status:
        """Return how much is in the database; none if its process ended while it made it."""
        connection = self._connect()
        if batches.is_unborn(connection):
            return Status(0, {})
        with suppress(sqlite3.Error):  # which is told of when somebody looks for a key
            self._index.load(connection)
        return batches.count(connection)

    @classified()
    def entries(self, after_id: int, count_max: int) -> list[Entry]:
        """Return the next batches in the order of appending, quarantined ones too."""
        connection = self._connect()
        try:
            return batches.page(connection, after_id, count_max)
        except sqlite3.OperationalError:
            if batches.is_unborn(connection):
                return []
            raise

    @classified()
    def read(self, entry: Entry) -> bytes:
        """Return a batch's tuples; raise ValueError if their CRC-32 differs."""
        return batches.read(self._connect(), entry)

    def find(self, dedup_keys: Sequence[DedupKey]) -> Iterator[list[Place]]:
        """Yield the places of keys segment by segment, and none between two statements."""
        with classified():
            if not self._is_writable:
                self._index.load(self._connect())
            if not self._index.is_empty:
                yield from self._index.places(self._connect, dedup_keys)

    @classified()
    def sync(self) -> None:
        """Have its WAL on the disk: what was moved into the database was there before."""
        database.sync_wal(self._path)

    @classified()
    def remove(self, ids: Collection[int]) -> set[int]:
        """Delete batches in one transaction; return the ids of those that were there."""
        deleted = batches.delete(self._connect(), ids)
        self._pending_bytes += len(ids) * PAGE_BYTES
        return deleted

    @classified()
    def quarantine(self, entry: Entry, reason: str) -> None:
        """Enter a damaged batch in the table of those that are not to be returned any more."""
        batches.quarantine(self._connect(), entry, reason)

    @classified()
    def note_missing(self, events: int) -> None:
        """Enter how many events were in the database and are not any more."""
        batches.note_missing(self._connect(), events)

    @classified()
    def checkpoint(self) -> None:
        """Move what the WAL holds into the database, so that the WAL need not grow."""
        self._connect().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._pending_bytes = 0

    def end_writing(self) -> None:
        """Go on with a connection that can only read. Raises nothing."""
        self._is_writable = False
        failed, self._connection = self._connection, None
        # The new one first: while it is connected, closing the old one writes nothing.
        with suppress(*RAISED):
            self._connect()
        if failed is not None:
            with suppress(*RAISED):
                failed.close()

    def close(self) -> None:
        """Close the connection; the next use makes another. Raises nothing.

        That moves the WAL into the database, if this is the last connection and may write.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*RAISED):
                connection.close()
        self._pending_bytes = 0
        self._places = []
        copy, self._copy = self._copy, None
        if copy is not None:
            with suppress(OSError):
                copy.cleanup()

    @classified()
    def delete(self) -> None:
        """Delete the database and what stands beside it, also where only that is left."""
        database.delete(self._path)

    @classified()
    def keep_as_damaged(self) -> Path | None:
        """Rename the database and its WAL so that only a person opens them; return the new path.

        None if nothing is there. To be called again where it has failed.
        """
        return database.keep_as_damaged(self._path)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            connect = database.open_for_writing if self._is_writable else self._open_for_reading
            path = Path(self._copy.name) / self._path.name if self._copy else self._path
            self._connection = connect(path)
        return self._connection
