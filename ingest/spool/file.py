"""One file of the spool: it belongs to one process, and is used in one thread.

What `append` and `remove` did is on the disk when they return. After a failure the file is never
written again. It is still read, and what is removed from it is remembered in memory until the whole
file can go; if the process dies before that, those batches are replayed once more, which their ids
make harmless. How many events are in it is noted in its lock, so that whoever adopts it knows what
is missing. A batch that does not come back as it was appended is quarantined: it stays in the
file and is never returned, and the file is kept for a person in the end.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar
from uuid import UUID

import structlog

from ingest.disk import is_there
from ingest.events import copy_reader
from ingest.spool.batch import BatchRef, SpooledBatch
from ingest.spool.failures import FAILURES, StorageDamaged, describe
from ingest.spool.lock import FileLock, lock_new_name
from ingest.spool.storage import (
    DAMAGED_SUFFIX,
    DedupKey,
    Entry,
    Place,
    PlacedKey,
    Status,
    Storage,
    StorageFile,
)
from ingest.spool.walk import walk

log = structlog.get_logger(__name__)

T = TypeVar("T")


class SpoolFile:
    """A file and its lock. Any method may raise what `FAILURES` lists, unless it says otherwise."""

    def __init__(self, stored: StorageFile, lock: FileLock) -> None:
        self._stored = stored
        self._lock = lock
        self._hidden: set[int] = set()  # quarantined, or removed where nothing can be written
        self._start_id = 0
        self._is_damaged = False
        self._is_told = False
        self._missing_before_events = 0
        self.is_writable = True
        self.is_gone = False
        """Whether somebody deleted it: what it holds can be read as long as it is open."""
        self.events = 0
        """In batches that are neither removed nor quarantined."""
        self.damaged_events = 0
        """In batches that are quarantined, or of which nothing is left."""
        self.missing_events = 0
        """Those of them that nobody missed before this process adopted the file."""
        self.unforeseen_events = 0
        """Those that have left it and that it was not known to hold; only ever grows.

        Of an append that failed when its batch was there already, or a count that was damaged.
        """
        self.oldest_ms: int | None = None
        """When the oldest batch was appended, in Unix ms; None when nothing is left to be read."""

    @classmethod
    def create(cls, storage: Storage, directory: Path, database_id: UUID | None) -> Self:
        """Make a new file, durably; leave nothing behind if that fails."""
        path, lock = lock_new_name(directory, lambda: storage.new_name(database_id))
        try:
            lock.tally.write(0)
            return cls(storage.create(path), lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def adopt(cls, stored: StorageFile, lock: FileLock) -> Self:
        """Open what another process left; `oldest_ms` is None if nothing is left in it."""
        file = cls(stored, lock)
        try:
            if stored.is_cut_off:
                file._is_damaged = True
            else:
                file._recover()
            file._look_for_missing()
        except BaseException:
            file.close()
            raise
        return file

    @property
    def name(self) -> str:
        """The name of the file within its directory."""
        return self._stored.path.name

    @property
    def is_open(self) -> bool:
        """Whether it holds descriptors besides its lock's."""
        return self._stored.is_open

    @property
    def is_in_place(self) -> bool:
        """Whether what was appended last is still in its directory."""
        return self._stored.is_in_place

    @property
    def is_lost(self) -> bool:
        """Whether it is not there any more and can't be read, either."""
        return not self.is_open and not is_there(self._stored.path)

    @property
    def is_overdue(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._stored.is_overdue

    @property
    def has_dedup_keys(self) -> bool:
        """Whether `find` may find anything."""
        return self._stored.has_dedup_keys

    @property
    def disk_bytes(self) -> int:
        """What it takes on the disk."""
        return self._stored.disk_bytes

    def append(self, blob: bytes, events: int, dedup_keys: Sequence[PlacedKey] = ()) -> Entry:
        """Store a batch, and its keys with it; it is on the disk when this returns."""
        entry = self._stored.append(blob, events, dedup_keys)
        self.events += events
        self._lock.tally.write(self.events, self._start_id)
        if self.oldest_ms is None:
            self.oldest_ms = entry.appended_ms
        return entry

    def append_bytes_max(self, size: int, dedup_keys: int) -> int:
        """Return what a batch of `size` bytes with so many keys may add to the disk, at most."""
        return self._stored.append_bytes_max(size, dedup_keys)

    def find(self, dedup_keys: Sequence[DedupKey]) -> Iterator[list[Place]]:
        """Yield where the rows of keys are, or were; none between two looks at the disk."""
        return self._stored.find(dedup_keys)

    def blob(self, id_: int) -> bytes:
        """Return a batch's tuples by its number; nothing if it was removed or is damaged."""
        if id_ in self._hidden:
            return b""
        for entry in self._stored.entries(id_ - 1, 1):
            if entry.id == id_:
                return self._read(entry, bytes) or b""
        return b""

    def settle(self) -> None:
        """Do nothing: all that is in it was synced when it was appended, or adopted."""

    def pause(self) -> None:
        """Do nothing: nobody else waits for it."""

    def entries(self, after_id: int = 0) -> Iterator[Entry]:
        """Yield the batches that are left in the order of appending; skip what can't be read."""
        for entry in walk(self._stored, max(self._start_id, after_id), self._note_damage):
            if entry.id not in self._hidden:
                yield entry

    def read(self, entry: Entry) -> SpooledBatch | None:
        """Return a batch; None if it is damaged, and then it has been quarantined."""
        rows = self._read(entry, lambda blob: copy_reader.split(blob, entry.events))
        ref = BatchRef(self.name, entry.id)
        return SpooledBatch(ref, rows, entry.appended_ms) if rows else None

    def remove(self, gone: Mapping[int, int]) -> None:
        """Forget batches, given by their ids with how many events each has."""
        if self.is_writable:
            left = max(0, self.events - sum(gone.values()))
            self._lock.tally.write(left, self._start_id)
            try:
                deleted = self._stored.remove(gone.keys())
            except FAILURES as error:
                self.fail(error)
            else:
                stayed = gone.keys() - deleted - self._hidden  # in a damaged file, and counts there
                self.unforeseen_events += sum(gone[id_] for id_ in stayed)
                self._leave({id_: gone[id_] for id_ in deleted})
                self._hidden |= stayed
        if not self.is_writable:
            self._hide(gone)
        self.refresh()
        if self.is_writable:
            self._lock.tally.write(self.events, self._start_id)

    def refresh(self) -> None:
        """Find the oldest batch that is left."""
        head = next(self.entries(), None)
        self.oldest_ms = head.appended_ms if head else None
        if head:
            self._start_id = head.id - 1

    def checkpoint(self) -> None:
        """Do what keeps the file's log from growing."""
        self._stored.checkpoint()

    def fail(self, error: BaseException) -> None:
        """Stop writing to this file, for good. Raises nothing."""
        if not self.is_writable:
            return
        log.error("a file of the spool failed", file=self.name, reason=describe(error))
        self.is_writable = False
        self._stored.end_writing()

    def close(self) -> None:
        """Let go of all descriptors but the lock's; the next use opens the file again."""
        self._stored.close()

    def release(self) -> None:
        """Leave the file to whoever adopts it next."""
        self.close()
        if self.is_writable:
            self._lock.release()
        else:
            self._lock.leave()

    def finish(self) -> int:
        """Delete a file of which nothing is left, or keep it as damaged; return what is lost.

        That is how many events are quarantined or can't be reached, and 1 if nobody knows. Where it
        fails it is to be called again. A lock that can't be deleted is left to `Orphans`.
        """
        lost = 0
        self.close()
        if self._is_damaged or self.events:
            lost = max(1, self.damaged_events + self.events)
            self._keep_as_damaged(lost)
        else:
            self._lock.tally.write(0)  # first: what is left of it, should this fail, is no loss
            self._stored.delete()
        with suppress(OSError):
            self._lock.release()
        return lost

    def _keep_as_damaged(self, events: int) -> None:
        """Keep the file for a person; that is told first, as nobody would behind a crash."""
        if not self._is_told:
            kept_as = self.name + DAMAGED_SUFFIX
            log.error("a file of the spool is damaged", kept_as=kept_as, events=events)
            self._is_told = True
        if self._stored.keep_as_damaged() is None:
            log.error("what a file of the spool held is lost", file=self.name, events=events)

    def _read(self, entry: Entry, convert: Callable[[bytes], T]) -> T | None:
        """Return what `convert` makes of a batch's tuples; None if they are damaged.

        To `convert` they are damaged when it raises ValueError.
        """
        try:
            return convert(self._stored.read(entry))
        except ValueError as error:
            reason = str(error)
        except StorageDamaged as damage:
            self._note_damage(damage)
            reason = describe(damage)
        self._quarantine(entry, reason)
        self.refresh()
        return None

    def _recover(self) -> None:
        """Find what is in the file, and what its own log would have hidden."""
        recovery = self._stored.recover()
        if recovery.is_damaged:
            log.error("a log in the spool is damaged", file=self.name, pages=recovery.lost_pages)
        self._load()
        if recovery.lost_pages and self._lock.tally.read() is None:
            self._is_damaged = True  # nobody knows what was on those pages
            self._note_unknown()

    def _load(self) -> None:
        """Count what is in the file."""
        status = self._status()
        if status is not None:
            self._hidden = set(status.quarantined)
            self._is_damaged |= bool(status.quarantined or status.missing_events)
            self._missing_before_events = status.missing_events
            self.damaged_events = status.quarantined_events + status.missing_events
            self.events = status.waiting_events
        elif self.is_open:
            self.events = self._walk()
        else:
            return
        self.refresh()

    def _walk(self, after_id: int = 0) -> int:
        """Return how many events there are by what is found, not by the sum that is kept."""
        return sum(entry.events for entry in self.entries(after_id))

    def _look_for_missing(self) -> None:
        """Count what the last owner knew to be in the file and what is not there."""
        expected = self._lock.tally.read()
        if expected is not None and expected > self.events and self.is_open:
            self.events = max(self.events, self._walk())
        found, start_id = self.events, self._lock.tally.read_start_id()
        if self.is_open and start_id > self._start_id:
            found = self._walk(start_id)  # what was removed has come back, and stands for nothing
        self.missing_events = max(0, (expected or 0) - found)
        if self.missing_events:
            log.error("events are missing in the spool", file=self.name, events=self.missing_events)
            self._is_damaged = True
            self.damaged_events += self.missing_events
            self._note_missing()
        else:
            self._lock.tally.write(self.events, self._start_id)

    def _note_missing(self) -> None:
        """Have the next owner know it, too: from the file, or from the tally as it was."""
        if self.is_open and self.is_writable:
            try:
                self._stored.note_missing(self._missing_before_events + self.missing_events)
                self._lock.tally.write(self.events, self._start_id)
            except FAILURES as error:
                self.fail(error)

    def _note_unknown(self) -> None:
        """Have the next owner know it, too, whose log is whole: one is missing, at the least."""
        if self.is_open and self.is_writable and not self.damaged_events:
            try:
                self._stored.note_missing(1)
            except FAILURES as error:
                self.fail(error)

    def _status(self) -> Status | None:
        """Return the status of the file, also of one that can only be read; None if it has none."""
        try:
            return self._stored.status()
        except StorageDamaged as damage:
            self._note_damage(damage)
        if self.is_open:
            try:
                return self._stored.status()
            except StorageDamaged:
                pass
        return None

    def _note_damage(self, damage: StorageDamaged) -> None:
        """Stop writing to a file of which a part can't be read."""
        self._is_damaged = True
        self.fail(damage)

    def _quarantine(self, entry: Entry, reason: str) -> None:
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
            self._lock.tally.write(self.events, self._start_id)
            try:
                self._stored.quarantine(entry, reason)
            except FAILURES as error:
                self.fail(error)

    def _hide(self, gone: Mapping[int, int]) -> None:
        self._leave(gone)
        self._hidden |= gone.keys()

    def _leave(self, gone: Mapping[int, int]) -> None:
        """Count what is not to be returned any more, once."""
        events = sum(gone[id_] for id_ in gone.keys() - self._hidden)
        self.unforeseen_events += max(0, events - self.events)
        self.events = max(0, self.events - events)
