"""What can go wrong on the spool's disk, in two kinds: it is full, and everything else.

Classified by type, errno and SQLite's own code, never by a message's text.
"""

import errno
import sqlite3
from typing import Final

FAILURES: Final = (sqlite3.Error, OSError, MemoryError)
"""What SQLite and the file system raise; anything else is a bug of ours."""

_FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)
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


class SpoolFull(Exception):  # noqa: N818 - a state of the world, handled
    """The byte cap or the floor of free space is reached; nothing was stored."""


class SpoolFailed(Exception):  # noqa: N818 - the same
    """The disk did not do what was asked."""

    def __init__(self, reason: str, *, stored: bool | None) -> None:
        super().__init__(reason)
        self.reason = reason
        """A few words without any payload, for a log line or an answer."""
        self.stored = stored
        """False: certainly nothing was stored. None: it may have been, or may yet be."""


def classify(error: BaseException, *, stored: bool | None) -> SpoolFull | SpoolFailed:
    """Return what an append that met `error` raises."""
    if _is_full(error):
        return SpoolFull("the disk is full")
    return SpoolFailed(describe(error), stored=stored)


def _is_full(error: BaseException) -> bool:
    """Whether there is no room on the disk; then nothing was stored."""
    if isinstance(error, OSError):
        return error.errno in _FULL_ERRNOS
    return _code(error) & _PRIMARY == sqlite3.SQLITE_FULL


def is_damage(error: BaseException) -> bool:
    """Whether what was to be read is not there any more, however often one tries."""
    code = _code(error)
    return code & _PRIMARY in _DAMAGE or code in _UNREADABLE


def corrupt(text: str) -> sqlite3.DatabaseError:
    """Return what SQLite would raise had it seen the damage itself."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def describe(error: BaseException) -> str:
    """Name the failure without its text, which may quote a path."""
    code = error.errno if isinstance(error, OSError) else None
    detail = getattr(error, "sqlite_errorname", None) or errno.errorcode.get(code or 0)
    name = type(error).__name__
    return f"{name}, {detail}" if detail else name


def _code(error: BaseException) -> int:
    """Return SQLite's extended code; 0 for what did not come from SQLite itself."""
    return getattr(error, "sqlite_errorcode", 0)
