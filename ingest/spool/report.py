"""What lies in a spool directory, for a person: read without a lock, beside servers or without any.

Nothing here changes a batch. Each is read on its own, so that however slowly the output is taken,
no server has to keep anything for it meanwhile; what a server drains in the meantime may be in an
export or not.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from ingest.errors import StartupError
from ingest.events import copy_reader
from ingest.events.fields import Stored
from ingest.spool.failures import StorageDamaged, StorageFailure
from ingest.spool.formats import STORAGE
from ingest.spool.lock import is_owned, noted_events
from ingest.spool.storage import DAMAGED_SUFFIX, Entry, Status, Storage, StorageReader
from ingest.spool.walk import walk


class FileStatus(NamedTuple):
    """One file of the directory."""

    name: str
    events: int
    """Those that wait to be replayed."""
    bytes: int
    """What it takes on the disk."""
    oldest_ms: int | None
    """When the oldest batch that waits was appended, in Unix time."""
    damaged_events: int
    """Those that are quarantined; in a file that is kept as `*.damaged`, all that are left."""
    missing_events: int
    """Those that were in the file and are not any more, as far as that is known."""
    is_readable: bool
    """Whether nothing was met that can't be read; batches are not looked at."""
    database_id: UUID | None
    """Which database its events are for, by its name; None for whichever the directory's is."""


class Export:
    """Every event in every file, once, when it is iterated over; the counts are complete then."""

    def __init__(self, directory: Path, storage: Storage = STORAGE) -> None:
        self._directory = directory
        self._storage = storage
        self.damaged_events = 0
        """Events that are not among those that were yielded, for they can't be read."""
        self.missing_events = 0
        """Events that are not, for the files do not have them any more."""
        self.unreadable_files: list[str] = []
        """Files of which a part can't be read, with an unknown number of events."""

    def __iter__(self) -> Iterator[Stored]:
        for path in _paths(self._directory, self._storage):
            try:
                yield from self._events(path)
            except StorageFailure:
                if path.exists():  # and was not just drained and deleted
                    self.unreadable_files.append(path.name)

    def _events(self, path: Path) -> Iterator[Stored]:
        with closing(self._storage.reader(path)) as reader:
            expected = _recover(path, reader)
            damages: list[StorageDamaged] = []
            self.missing_events += _missing(_count(reader, damages), expected)
            for entry in walk(reader, 0, damages.append):
                for row in self._rows(reader, entry):
                    try:
                        yield copy_reader.decode(row)
                    except ValueError:
                        self.damaged_events += 1
            if damages:
                raise damages[0]

    def _rows(self, reader: StorageReader, entry: Entry) -> list[bytes]:
        try:
            return copy_reader.split(reader.read(entry), entry.events)
        except (ValueError, StorageFailure):
            # Unless it was drained a moment ago.
            if reader.entries(entry.id - 1, 1) == [entry]:
                self.damaged_events += entry.events
            return []


def status(directory: Path, storage: Storage = STORAGE) -> list[FileStatus]:
    """Return the figures of every file, the oldest first; none if there is no such directory."""
    found = [(path, _status(path, storage)) for path in _paths(directory, storage)]
    # One that was drained and deleted meanwhile can't be read, and nothing is wrong with that.
    return [file for path, file in found if path.exists()]


def export(directory: Path, storage: Storage = STORAGE) -> Export:
    """Return what yields every event that is in the spool."""
    return Export(directory, storage)


def _status(path: Path, storage: Storage) -> FileStatus:
    database_id = storage.database_of(path.name.removesuffix(DAMAGED_SUFFIX))
    size = 0
    damages: list[StorageDamaged] = []
    try:
        with closing(storage.reader(path)) as reader:
            size = reader.disk_bytes
            expected = _recover(path, reader)
            found = _count(reader, damages)
            oldest_ms = _oldest_ms(reader, found, damages)
    except StorageFailure:
        return FileStatus(path.name, 0, size, None, 0, 0, False, database_id)
    missing, is_readable = _missing(found, expected), not damages
    waiting, damaged = found.waiting_events, found.quarantined_events
    if path.suffix == DAMAGED_SUFFIX:
        waiting, oldest_ms, damaged = 0, None, found.events
    return FileStatus(
        path.name, waiting, size, oldest_ms, damaged, missing, is_readable, database_id
    )


def _recover(path: Path, reader: StorageReader) -> int:
    """Have everything found in a file that nobody owns; return how many events it should hold.

    That is 0 if it is not known, and for a file that belongs to somebody, who looks after it.
    """
    if is_owned(path):
        return 0
    expected = noted_events(path)
    reader.recover()
    if is_owned(path) or not path.exists():
        reader.close()  # somebody adopted it meanwhile
        return 0
    return expected or 0


def _count(reader: StorageReader, damages: list[StorageDamaged]) -> Status:
    """Return how much is in a file, by its batches if what sums them up is damaged."""
    try:
        return reader.status()
    except StorageDamaged as damage:
        damages.append(damage)
        return Status(sum(entry.events for entry in walk(reader, 0, damages.append)), {})


def _missing(found: Status, expected: int) -> int:
    """Return how many events are missing, known to the file itself or not yet."""
    return found.missing_events + max(0, expected - found.waiting_events)


def _oldest_ms(reader: StorageReader, found: Status, damages: list[StorageDamaged]) -> int | None:
    """Return when the oldest batch that waits was appended; None if none waits."""
    entries = walk(reader, 0, damages.append)
    return next((each.appended_ms for each in entries if each.id not in found.quarantined), None)


def _paths(directory: Path, storage: Storage) -> list[Path]:
    """Return the files of a spool directory, the oldest first."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StartupError(
            f"can't read the spool directory {directory}: {error.strerror}; "
            "run this as the user that the server runs as"
        ) from error
    plain = {name: name.removesuffix(DAMAGED_SUFFIX) for name in names}
    return [directory / name for name in names if storage.file_of(plain[name]) == plain[name]]
