"""What can go wrong on the spool's disk: in a storage's words, and in those of the spool's callers.

Classified by type and code, never by a message's text.
"""

import errno
from typing import Final

_FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)


class StorageFailure(Exception):  # noqa: N818 - a state of the world, handled
    """A storage did not do what was asked; raised as one of the three kinds below only."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """A few words without any payload and without a path, for a log line."""


class StorageFull(StorageFailure):
    """There is no room on the disk; nothing was stored."""


class StorageDamaged(StorageFailure):
    """What was to be read is not there any more, however often one tries."""


class StorageFailed(StorageFailure):
    """Everything else; it may pass."""


class SpoolFull(Exception):  # noqa: N818 - a state of the world, handled
    """The byte cap or the floor of free space is reached; nothing was stored."""


class SpoolFailed(Exception):  # noqa: N818 - a state of the world, handled
    """The disk did not do what was asked."""

    def __init__(self, reason: str, *, stored: bool | None) -> None:
        super().__init__(reason)
        self.reason = reason
        """A few words without any payload, for a log line or an answer."""
        self.stored = stored
        """False: certainly nothing was stored. None: it may have been, or may yet be."""


FAILURES: Final = (StorageFailure, OSError, MemoryError)
"""What a storage and the file system raise; anything else is a bug of ours."""


def classify(error: BaseException, *, stored: bool | None) -> SpoolFull | SpoolFailed:
    """Return what an append that met `error` raises."""
    if isinstance(error, StorageFull) or is_disk_full(error):
        return SpoolFull("the disk is full")
    return SpoolFailed(describe(error), stored=stored)


def is_disk_full(error: BaseException) -> bool:
    """Whether the file system says that it has no room."""
    return isinstance(error, OSError) and error.errno in _FULL_ERRNOS


def describe(error: BaseException) -> str:
    """Name the failure without its text, which may quote a path."""
    if isinstance(error, StorageFailure):
        return error.reason
    code = error.errno if isinstance(error, OSError) else None
    detail = errno.errorcode.get(code or 0)
    name = type(error).__name__
    return f"{name}, {detail}" if detail else name
