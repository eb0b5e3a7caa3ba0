"""The storage of SQLite databases: how they are named, made and opened.

A file is `events-v2-<Unix ms of its making>-<random>-<id of its database>.db`, without an id while
none is known, and beside it SQLite's `-wal` and `-shm`. The original of a WAL that was mended
stands there as `-wal.damaged` until nothing is missing any more. A name is never used twice.
`events-v1-*` is what the version before left, with tuples of five fields and without keys; it would
take ours for damaged, but passes them over.
"""

import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID

from ingest.spool.sqlite import database
from ingest.spool.sqlite.database import WAL
from ingest.spool.sqlite.failures import RAISED, classified
from ingest.spool.sqlite.file import SqliteFile

_NAME: Final = re.compile(
    r"(events-v[12]-[0-9]{13}-[0-9a-f]{8}(?:-([0-9a-f]{32}))?\.db)(?:-wal|-shm|-journal|-mended)?"
)
"""A file and what stands beside it; the first group is the file, the second its database."""


class SqliteStorage:
    """Implements `Storage`; has no state."""

    empty_bytes: Final = 160 * 1024

    def new_name(self, database_id: UUID | None) -> str:
        """Return a name that no file had before."""
        owner = f"-{database_id.hex}" if database_id else ""
        return f"events-v2-{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(4)}{owner}.db"

    def database_of(self, name: str) -> UUID | None:
        """Return the database that a name ends with."""
        match = _NAME.fullmatch(name)
        return UUID(match[2]) if match and match[2] else None

    def file_of(self, name: str) -> str | None:
        """Return the name of the database; None for what is neither one nor beside one."""
        match = _NAME.fullmatch(name)
        return match[1] if match else None

    def is_log(self, name: str) -> bool:
        """Whether it is a WAL: a checkpoint writes it into its database."""
        return name.endswith(WAL)

    def append_bytes_max(self, size: int, dedup_keys: int) -> int:
        """Return what a batch with so many keys may add to a new file and its WAL."""
        return SqliteFile(Path()).append_bytes_max(size, dedup_keys)

    @classified()
    def create(self, path: Path) -> SqliteFile:
        """Make a database, durably; leave nothing behind if that fails."""
        try:
            return SqliteFile(path, database.create(path))
        except BaseException:
            with suppress(*RAISED):
                database.delete(path)
            raise

    def open(self, path: Path) -> SqliteFile:
        """Return a database that will be opened for writing."""
        return SqliteFile(path)

    def reader(self, path: Path) -> SqliteFile:
        """Return a database that will be opened for reading only."""
        return SqliteFile(path, is_writable=False)

    def beside(self, path: Path) -> SqliteFile:
        """Return a database that will be opened for a short look."""
        return SqliteFile(path, is_writable=False, open_for_reading=database.open_beside)
