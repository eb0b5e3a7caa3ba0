"""One file of the spool: a database that belongs to one process, and is used in one thread.

What `append` and `remove` did is on the disk (WAL, `synchronous=FULL`) when they return. After a
failure the file is never written again, since a second fsync may "succeed" after the kernel dropped
the pages of the first. It is still read, and what is removed from it is remembered in memory until
the whole file can go; if the process dies before that, those batches are replayed once more, which
their ids make harmless.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, TypeVar

import structlog

from ingest.spool import batches, database
from ingest.spool.batches import Entry, SpooledBatch
from ingest.spool.database import PAGE_BYTES, WAL_BYTES_MAX
from ingest.spool.failures import FAILURES, describe, is_damage
from ingest.spool.index import KeyIndex, Place, PlacedKey
from ingest.spool.lock import FileLock, lock_new_name

log = structlog.get_logger(__name__)

T = TypeVar("T")

_PAGE_ENTRIES: Final = 32
_SKIPS_MAX: Final = 1_000
"""How many ids are tried behind one that can't be read; a page holds some dozens of batches."""


class SpoolFile:
    """A file and its lock. Any method may raise what `FAILURES` lists, unless it says otherwise."""

    def __init__(
        self, path: Path, lock: FileLock, connection: sqlite3.Connection | None = None
    ) -> None:
        self._path = path
        self._lock = lock
        self._connection = connection
        self._hidden: set[int] = set()  # set aside, or removed where nothing can be written
        self._start_id = 0
        self._pending_bytes = 0
        self._is_damaged = False
        self.index = KeyIndex()
        self.is_writable = True
        self.events = 0
        """In batches that are neither removed nor set aside."""
        self.damaged_events = 0
        self.oldest_ms: int | None = None
        """When the oldest batch was appended, in Unix ms; None when nothing is left to be read."""

    @classmethod
    def create(cls, directory: Path) -> Self:
        """Make a new file, durably; leave nothing behind if that fails."""
        path, lock = lock_new_name(directory)
        try:
            return cls(path, lock, database.create(path))
        except BaseException:
            with suppress(*FAILURES):
                database.delete(path)
            lock.release()
            raise

    @classmethod
    def adopt(cls, path: Path, lock: FileLock) -> Self:
        """Open what another process left; `oldest_ms` is None if nothing is left in it."""
        file = cls(path, lock)
        if database.is_cut_off(path):
            file._is_damaged = True
            return file
        try:
            if not batches.is_unborn(file._connect()):
                file._load()
        except FAILURES as error:
            if not is_damage(error):
                file.rest()
                raise
            file._note_damage(error)
            if file.is_open:
                file._load()
        return file

    @property
    def name(self) -> str:
        """The name of the file within its directory."""
        return self._path.name

    @property
    def is_open(self) -> bool:
        """Whether it holds descriptors besides its lock's."""
        return self._connection is not None

    @property
    def is_in_place(self) -> bool:
        """Whether it is still in its directory."""
        return self._path.exists()

    @property
    def is_overdue(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.is_writable and self._pending_bytes > WAL_BYTES_MAX

    @property
    def disk_bytes(self) -> int:
        """What the database and its WAL take on the disk."""
        return database.size(self._path) + database.wal_size(self._path)

    def append(self, blob: bytes, events: int, keys: Sequence[PlacedKey] = ()) -> None:
        """Store a batch, and its keys with it; it is on the disk when this returns."""
        if keys:
            entry = self._append_with_keys(blob, events, keys)
        else:
            entry = batches.insert(self._connect(), blob, events)
        self._pending_bytes += len(blob) + 3 * PAGE_BYTES
        self.events += events
        if self.oldest_ms is None:
            self.oldest_ms = entry.appended_ms

    def places(self, keys: Sequence[bytes]) -> Iterator[list[Place]]:
        """Yield where the rows of keys are, or were; see `KeyIndex.places`."""
        return self.index.places(self._connect, keys)

    def read_whole(self, id_: int) -> bytes:
        """Return a batch's tuples by its number; nothing if it was removed or is damaged."""
        if id_ in self._hidden:
            return b""
        for entry in batches.page(self._connect(), id_ - 1, 1):
            if entry.id == id_:
                return self._read(entry, batches.read_whole) or b""
        return b""

    def entries(self) -> Iterator[Entry]:
        """Yield the batches that are left in the order of appending; skip what can't be read."""
        last_id, skips = self._start_id, 0
        while skips < _SKIPS_MAX:
            try:
                count_max = 1 if self._is_damaged else _PAGE_ENTRIES
                page = batches.page(self._connect(), last_id, count_max)
            except sqlite3.Error as error:
                self._note_damage(error)
                if not self.is_open:
                    return
                last_id, skips = last_id + 1, skips + 1
                continue
            if not page:
                return
            last_id = page[-1].id
            yield from (entry for entry in page if entry.id not in self._hidden)

    def read(self, entry: Entry) -> SpooledBatch | None:
        """Return a batch; None if it is damaged, and then it has been set aside."""
        rows = self._read(entry, batches.read)
        return SpooledBatch((self.name, entry.id), rows, entry.appended_ms) if rows else None

    def remove(self, gone: Mapping[int, int]) -> None:
        """Forget batches, given by their ids with how many events each has."""
        if self.is_writable:
            try:
                deleted = batches.delete(self._connect(), gone)
                self.events = max(0, self.events - sum(gone[id_] for id_ in deleted))
                self._hidden |= gone.keys() - deleted  # in a damaged table one may stay
                self._pending_bytes += len(gone) * PAGE_BYTES
            except FAILURES as error:
                self.fail(error)
        if not self.is_writable:
            self._hide(gone)
        self.refresh()

    def refresh(self) -> None:
        """Find the oldest batch that is left."""
        head = next(self.entries(), None)
        self.oldest_ms = head.appended_ms if head else None
        if head:
            self._start_id = head.id - 1

    def checkpoint(self) -> None:
        """Move what the WAL holds into the database, so that the WAL need not grow."""
        self._connect().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._pending_bytes = 0

    def fail(self, error: BaseException) -> None:
        """Stop writing to this file, for good. Raises nothing."""
        if not self.is_writable:
            return
        log.error("a file of the spool failed", file=self.name, reason=describe(error))
        self.is_writable = False
        failed, self._connection = self._connection, None
        # The new one first: while it is connected, closing the old one writes nothing.
        with suppress(*FAILURES):
            self._connect()
        if failed is not None:
            with suppress(*FAILURES):
                failed.close()

    def rest(self) -> None:
        """Let go of all descriptors but the lock's; the next use opens the file again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*FAILURES):
                connection.close()
        self._pending_bytes = 0

    def release(self) -> None:
        """Leave the file to whoever adopts it next."""
        self.rest()
        self._lock.release()

    def finish(self) -> int:
        """Delete a file of which nothing is left, or keep it as `*.damaged`; return what is lost.

        That is how many events were set aside or can't be reached, and 1 if nobody knows.
        """
        lost = 0
        self.rest()
        if self._is_damaged or self.events:
            lost = max(1, self.damaged_events + self.events)
            kept = database.keep_as_damaged(self._path)
            log.error("a file of the spool is damaged", kept_as=kept.name, events=lost)
        else:
            database.delete(self._path)
        self._lock.release()
        return lost

    def _append_with_keys(self, blob: bytes, events: int, keys: Sequence[PlacedKey]) -> Entry:
        connection = self._connect()
        with batches.transaction(connection):
            entry = batches.insert(connection, blob, events)
            pages = self.index.insert(connection, entry.id, keys)
        self._pending_bytes += pages * PAGE_BYTES
        return entry

    def _read(self, entry: Entry, read: Callable[[sqlite3.Connection, Entry], T]) -> T | None:
        try:
            return read(self._connect(), entry)
        except ValueError as error:
            reason = str(error)
        except sqlite3.Error as error:
            self._note_damage(error)
            reason = describe(error)
        self._set_aside(entry, reason)
        self.refresh()
        return None

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            connect = database.open_for_writing if self.is_writable else database.open_for_reading
            self._connection = connect(self._path)
        return self._connection

    def _load(self) -> None:
        """Count what is in the file."""
        with suppress(sqlite3.Error):  # which is told of when somebody looks for a key
            self.index.load(self._connect())
        try:
            events, damaged = batches.count(self._connect())
        except sqlite3.Error as error:
            self._note_damage(error)
            self.events = sum(entry.events for entry in self.entries())
        else:
            self._hidden = set(damaged)
            self._is_damaged |= bool(damaged)
            self.damaged_events = sum(damaged.values())
            self.events = max(0, events - self.damaged_events)
        self.refresh()

    def _note_damage(self, error: BaseException) -> None:
        """Stop writing to a file of which a part can't be read; raise what may pass."""
        if not is_damage(error):
            raise error
        self._is_damaged = True
        self.fail(error)

    def _set_aside(self, entry: Entry, reason: str) -> None:
        """Keep a batch in the file and out of the way."""
        log.error(
            "a batch in the spool is damaged",
            file=self.name,
            id=entry.id,
            events=entry.events,
            reason=reason,
        )
        self._is_damaged = True
        self.damaged_events += entry.events
        self._hide({entry.id: entry.events})
        if self.is_writable:
            try:
                batches.mark_damaged(self._connect(), entry, reason)
            except FAILURES as error:
                self.fail(error)

    def _hide(self, gone: Mapping[int, int]) -> None:
        for id_, events in gone.items():
            if id_ not in self._hidden:
                self._hidden.add(id_)
                self.events = max(0, self.events - events)
