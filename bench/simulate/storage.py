"""The storage of the simulated disk: the product's own, behind a disk that may fail."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.simulate.disk import Disk
from ingest.spool.formats import STORAGE
from ingest.spool.storage import (
    DedupKey,
    Entry,
    Place,
    PlacedKey,
    Recovery,
    Status,
    StorageFile,
    StorageReader,
)


class SimulatedStorage:
    """Implements `Storage`."""

    empty_bytes = STORAGE.empty_bytes

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def new_name(self, database_id: UUID | None) -> str:
        """Return a name that no file had before."""
        return STORAGE.new_name(database_id)

    def database_of(self, name: str) -> UUID | None:
        """Return the database of a name."""
        return STORAGE.database_of(name)

    def file_of(self, name: str) -> str | None:
        """Return which file a name belongs to."""
        return STORAGE.file_of(name)

    def is_log(self, name: str) -> bool:
        """Whether it is a log's."""
        return STORAGE.is_log(name)

    def append_bytes_max(self, size: int, dedup_keys: int) -> int:
        """Return what a batch may add."""
        return STORAGE.append_bytes_max(size, dedup_keys)

    def create(self, path: Path) -> "SimulatedFile":
        """Make a file."""
        made: StorageFile = self._disk.write(partial(STORAGE.create, path))
        return SimulatedFile(made, self._disk)

    def open(self, path: Path) -> "SimulatedFile":
        """Return a file for its owner."""
        return SimulatedFile(STORAGE.open(path), self._disk)

    def reader(self, path: Path) -> StorageReader:
        """Return a file for whoever does not own it."""
        return STORAGE.reader(path)

    def beside(self, path: Path) -> StorageReader:
        """Return a file for a short look."""
        return STORAGE.beside(path)


class SimulatedFile:
    """Implements `StorageFile`; what is not here needs no disk."""

    def __init__(self, stored: StorageFile, disk: Disk) -> None:
        self._stored = stored
        self._disk = disk

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a file has
        return getattr(self._stored, name)

    def recover(self) -> Recovery:
        """Find what is in it behind some damage."""
        found: Recovery = self._disk.write(self._stored.recover)
        return found

    def append(self, blob: bytes, events: int, dedup_keys: Sequence[PlacedKey] = ()) -> Entry:
        """Store a batch."""
        self._disk.world.note(f"disk: append {events}")
        entry: Entry = self._disk.write(partial(self._stored.append, blob, events, dedup_keys))
        return entry

    def remove(self, ids: Collection[int]) -> set[int]:
        """Delete batches."""
        self._disk.world.note(f"disk: remove {sorted(ids)}")
        removed: set[int] = self._disk.write(partial(self._stored.remove, ids))
        return removed

    def quarantine(self, entry: Entry, reason: str) -> None:
        """Note that a batch is damaged."""
        self._disk.write(partial(self._stored.quarantine, entry, reason))

    def note_missing(self, events: int) -> None:
        """Note that events are missing."""
        self._disk.write(partial(self._stored.note_missing, events))

    def checkpoint(self) -> None:
        """Keep its log from growing."""
        self._disk.write(self._stored.checkpoint)

    def delete(self) -> None:
        """Delete it."""
        self._disk.write(self._stored.delete)

    def keep_as_damaged(self) -> Path | None:
        """Keep it for a person."""
        kept: Path | None = self._disk.write(self._stored.keep_as_damaged)
        return kept

    def status(self) -> Status:
        """Return how much is in it."""
        self._disk.read()
        return self._stored.status()

    def entries(self, after_id: int, count_max: int) -> list[Entry]:
        """Return the next batches."""
        self._disk.read()
        return self._stored.entries(after_id, count_max)

    def read(self, entry: Entry) -> bytes:
        """Return a batch's tuples."""
        self._disk.read()
        return self._stored.read(entry)

    def find(self, dedup_keys: Sequence[DedupKey]) -> Iterator[list[Place]]:
        """Yield where rows of keys are."""
        for places in self._stored.find(dedup_keys):
            self._disk.read()
            yield places
