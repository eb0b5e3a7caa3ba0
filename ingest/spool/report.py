"""What lies in a spool directory, for a person: read without a lock, beside servers or without any.

Nothing here changes a batch. Each is read in a transaction of its own, so that however slowly the
output is taken, no server's WAL has to grow meanwhile; what a server drains in the meantime may be
in an export or not.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from ingest.errors import StartupError
from ingest.events import copy_reader
from ingest.events.fields import Stored
from ingest.spool import batches, database
from ingest.spool.batches import Entry
from ingest.spool.database import DAMAGED_SUFFIX

_UNREADABLE: Final = (sqlite3.Error, OSError)
_PAGE_ENTRIES: Final = 32


class FileStatus(NamedTuple):
    """One file of the directory."""

    name: str
    events: int
    """Those that wait to be replayed."""
    bytes: int
    """What the database and its WAL take on the disk."""
    oldest_ms: int | None
    """When the oldest batch that waits was appended, in Unix time."""
    damaged_events: int
    """Those that were set aside; in a file that is kept as `*.damaged`, all that are left."""
    is_readable: bool


class Export:
    """Every event in every file, once, when it is iterated over; the counts are complete then."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.damaged_events = 0
        """Events that are not among those that were yielded, for they can't be read."""
        self.unreadable_files: list[str] = []
        """Files of which a part can't be read, with an unknown number of events."""

    def __iter__(self) -> Iterator[Stored]:
        for path in _paths(self._directory):
            try:
                yield from self._events(path)
            except _UNREADABLE:
                if path.exists():  # and was not just drained and deleted
                    self.unreadable_files.append(path.name)

    def _events(self, path: Path) -> Iterator[Stored]:
        with closing(database.open_for_reading(path)) as connection:
            for entry in _entries(connection):
                for row in self._rows(connection, entry):
                    try:
                        yield copy_reader.decode(row)
                    except ValueError:
                        self.damaged_events += 1

    def _rows(self, connection: sqlite3.Connection, entry: Entry) -> list[bytes]:
        try:
            return batches.read(connection, entry)
        except (ValueError, sqlite3.DatabaseError):
            # Unless it was drained a moment ago.
            if batches.page(connection, entry.id - 1, 1)[:1] == [entry]:
                self.damaged_events += entry.events
            return []


def status(directory: Path) -> list[FileStatus]:
    """Return the figures of every file, the oldest first; none if there is no such directory."""
    return [_status(path) for path in _paths(directory) if path.exists()]


def export(directory: Path) -> Export:
    """Return what yields every event that is in the spool."""
    return Export(directory)


def _status(path: Path) -> FileStatus:
    size = database.size(path) + database.wal_size(path)
    try:
        with closing(database.open_for_reading(path)) as connection:
            if batches.is_unborn(connection):
                return FileStatus(path.name, 0, size, None, 0, is_readable=True)
            events, damaged = batches.count(connection)
            waiting = (entry for entry in _entries(connection) if entry.id not in damaged)
            oldest = next(waiting, None)
    except _UNREADABLE:
        return FileStatus(path.name, 0, size, None, 0, is_readable=False)
    if path.suffix == DAMAGED_SUFFIX:
        return FileStatus(path.name, 0, size, None, events, is_readable=True)
    damaged_events = sum(damaged.values())
    oldest_ms = oldest.appended_ms if oldest else None
    return FileStatus(
        path.name, events - damaged_events, size, oldest_ms, damaged_events, is_readable=True
    )


def _entries(connection: sqlite3.Connection) -> Iterator[Entry]:
    last_id = 0
    while page := batches.page(connection, last_id, _PAGE_ENTRIES):
        yield from page
        last_id = page[-1].id


def _paths(directory: Path) -> list[Path]:
    """Return the databases of a directory, the oldest first."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StartupError(
            f"can't read the spool directory {directory}: {error.strerror}; "
            "run this as the user that the server runs as"
        ) from error
    return [
        directory / name
        for name in names
        if (match := database.NAME.fullmatch(name.removesuffix(DAMAGED_SUFFIX))) and not match[2]
    ]
