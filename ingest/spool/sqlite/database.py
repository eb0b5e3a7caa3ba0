"""SQLite databases on the disk: made, opened, deleted, and kept when they are damaged.

Whoever opens one for writing gets a connection whose COMMIT is on the disk when it returns. Where
more than a database lies, what would change its meaning is done first: it is deleted before its
WAL, without which it would be an older one.
"""

import errno
import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ingest.disk import is_there, sync_directory
from ingest.spool.sqlite import batches, index
from ingest.spool.sqlite.wal import Wal
from ingest.spool.storage import DAMAGED_SUFFIX

WAL_BYTES_MAX: Final = 4 * 1024 * 1024
PAGE_BYTES: Final = 8192
"""A batch of 1 MB, with its checkpoint, takes 7.0 ms; with pages of 4,096 bytes 8.5 ms."""

_PAGE_BYTES_MIN: Final = 512
WAL: Final = "-wal"
_SHM: Final = "-shm"
_JOURNAL: Final = "-journal"
_MENDED: Final = "-mended"
_ORIGINAL: Final = f"{WAL}{DAMAGED_SUFFIX}"
"""The WAL as it was before it was mended; no name that SQLite or a server would open."""
_FILE_MODE: Final = 0o600
# Nobody else writes to a file, but a reader that comes or goes may lock it for a moment.
_BUSY_TIMEOUT_S: Final = 1.0
_SYNCHRONOUS_FULL: Final = 2


class Place(NamedTuple):
    """A file, whatever name it has."""

    device: int
    inode: int


def create(path: Path) -> sqlite3.Connection:
    """Make a database for its owner's eyes only, durably: a crash after this finds it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, _FILE_MODE)
    try:
        os.fchmod(descriptor, _FILE_MODE)  # whatever the umask is; SQLite's own files follow it
    finally:
        os.close(descriptor)
    connection = open_for_writing(path)
    try:
        connection.executescript(f"BEGIN;{batches.SCHEMA}{index.SCHEMA}COMMIT;")
        sync_directory(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open a database so that a COMMIT is on the disk when it returns."""
    connection = _connect(path, "rw")
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # counts for a new file only
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS; elsewhere fsync means it
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # would hide its errors
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
        connection.execute("PRAGMA secure_delete = OFF")  # would write every batch once more
        (level,) = connection.execute("PRAGMA synchronous").fetchone()
        if mode != b"wal" or level != _SYNCHRONOUS_FULL:
            raise OSError(errno.ENOTSUP, "its file system can't hold a write-ahead log")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a database that is not to be written, whoever else uses it."""
    # Where there is no WAL, `*.damaged` is read without making one.
    is_still = path.suffix == DAMAGED_SUFFIX and not is_there(beside(path, WAL))
    return _attach(path, "ro&immutable=1" if is_still else "ro")


def open_beside(path: Path) -> sqlite3.Connection:
    """Open another process's database for a short look that leaves no trace.

    Beside a WAL its shared index is only read, or, if nobody has it open, made anew in memory: one
    made on the disk might be of a WAL that somebody mends just then. As long as this is open, this
    process can't open the database for writing. Without a WAL all lies in the database itself,
    which is read as if nobody wrote to it: what somebody who does has torn, the sums of the batches
    show.
    """
    return _attach(path, "ro&readonly_shm=1" if wal_size(path) else "ro&immutable=1")


def is_cut_off(path: Path) -> bool:
    """Whether less than a page is left of it: SQLite would take it for new, and drop its WAL."""
    left = size(path)
    return left < _PAGE_BYTES_MIN and (left > 0 or wal_size(path) > 0)


def beside(path: Path, suffix: str) -> Path:
    """Return the path of one of the files that stand beside a database."""
    return path.with_name(path.name + suffix)


def place(path: Path) -> Place | None:
    """Return which file has a name now; None if none has."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Place(found.st_dev, found.st_ino)


def size(path: Path) -> int:
    """Return a file's length in bytes; 0 if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def wal_size(path: Path) -> int:
    """Return the length of a database's WAL in bytes."""
    return size(beside(path, WAL))


def read_wal(path: Path) -> Wal | None:
    """Return the WAL of a database that nobody has open; None if there is none."""
    return Wal(beside(path, WAL), PAGE_BYTES) if wal_size(path) else None


def sync_wal(path: Path) -> None:
    """Have a database's WAL on the disk, durably, whoever wrote it; nothing if there is none."""
    try:
        # Of the WAL: to close a descriptor of the database would drop its locks in this process.
        descriptor = os.open(beside(path, WAL), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


def mend(path: Path, wal: Wal) -> None:
    """Put all that is left of a WAL in its place, and keep the original beside it; durably.

    For the owner of a database that is not open. A crash before the last step leaves the WAL as it
    was. Whoever still reads by the old shared index keeps that, and the old WAL with it; it goes
    after the WAL, so that nobody makes another of the old one.
    """
    original, mended = beside(path, _ORIGINAL), beside(path, _MENDED)
    shutil.copyfile(beside(path, WAL), original)
    original.chmod(_FILE_MODE)
    wal.rewrite(mended)
    mended.chmod(_FILE_MODE)
    mended.rename(beside(path, WAL))
    beside(path, _SHM).unlink(missing_ok=True)
    sync_directory(path.parent)


def cut(path: Path, wal: Wal) -> None:
    """Take off a WAL that is as it was written what was never committed; that needs no room."""
    for suffix in (_ORIGINAL, _MENDED):
        beside(path, suffix).unlink(missing_ok=True)
    with beside(path, WAL).open("r+b") as log:
        log.truncate(wal.end_bytes)
        os.fsync(log.fileno())


def copy_mended(path: Path, wal: Wal, directory: Path) -> Path:
    """Copy a database elsewhere with all that is left of its WAL; return its path there."""
    copied = directory / path.name
    shutil.copyfile(path, copied)
    wal.rewrite(beside(copied, WAL))
    return copied


def delete(path: Path) -> None:
    """Delete a database and what stands beside it, also where only that is left.

    The database goes before its WAL, without which it would be an older one. The WAL of a database
    that was kept as `*.damaged` goes with it instead, and the original of that stays.
    """
    wal, kept = beside(path, WAL), beside(path, DAMAGED_SUFFIX)
    if not is_there(kept):
        beside(path, _ORIGINAL).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    if is_there(kept) and size(wal):
        wal.rename(beside(kept, WAL))
    for suffix in (WAL, _SHM, _JOURNAL, _MENDED):
        beside(path, suffix).unlink(missing_ok=True)


def keep_as_damaged(path: Path) -> Path | None:
    """Rename a database and its WAL so that only a person opens them; return the new path.

    None if nothing is there. To be called again where it has failed.
    """
    kept = beside(path, DAMAGED_SUFFIX)
    with suppress(FileNotFoundError):
        path.rename(kept)
    delete(path)
    sync_directory(path.parent)
    return kept if is_there(kept) else None


def _attach(path: Path, mode: str) -> sqlite3.Connection:
    connection = _connect(path, mode)
    try:
        connection.execute("PRAGMA writable_schema = ON")  # else one that was cut is not opened
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # attaches to the WAL
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=_BUSY_TIMEOUT_S,
    )
    connection.text_factory = bytes  # a damaged number may come back as a text of any bytes
    return connection
