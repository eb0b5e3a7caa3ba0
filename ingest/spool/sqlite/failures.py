"""What SQLite raises, as the kinds of failure that the spool knows.

Classified by type, errno and SQLite's own code, never by a message's text.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ingest.spool import failures
from ingest.spool.failures import StorageDamaged, StorageFailed, StorageFailure, StorageFull

RAISED: Final = (sqlite3.Error, OSError, MemoryError)
"""What SQLite and the file system raise; anything else is a bug of ours."""

_PRIMARY: Final = 0xFF
# SQLITE_ERROR: our statements are constant, so it is the schema that is not ours any more.
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
# A sector that can't be read is lost for good. The other I/O errors may pass: no descriptor free,
# no memory, a lock, no room for the shared index.
_UNREADABLE: Final = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_DATA,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)


@contextmanager
def classified() -> Iterator[None]:
    """Raise what SQLite raises meanwhile as a StorageFailure; also a decorator."""
    try:
        yield
    except RAISED as error:
        raise _classify(error) from error


def corrupt(text: str) -> sqlite3.DatabaseError:
    """Return what SQLite would raise had it seen the damage itself."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def _classify(error: BaseException) -> StorageFailure:
    reason = _describe(error)
    code = _code(error)
    if failures.is_disk_full(error) or code & _PRIMARY == sqlite3.SQLITE_FULL:
        return StorageFull(reason)
    if code & _PRIMARY in _DAMAGE or code in _UNREADABLE:
        return StorageDamaged(reason)
    return StorageFailed(reason)


def _describe(error: BaseException) -> str:
    name = getattr(error, "sqlite_errorname", None)
    return f"{type(error).__name__}, {name}" if name else failures.describe(error)


def _code(error: BaseException) -> int:
    """Return SQLite's extended code; 0 for what did not come from SQLite itself."""
    return getattr(error, "sqlite_errorcode", 0)
