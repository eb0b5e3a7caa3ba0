"""Who owns a file of the spool: the process that holds an exclusive `flock` on `FILE.lock`.

The kernel lets go of it when the process ends, however it ends. It is a file beside the spool's
own, not that itself: closing any descriptor of a file drops all POSIX locks that this process has
on it, those of a storage too.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from ingest.spool.tally import Tally

SUFFIX: Final = ".lock"
_MODE: Final = 0o600
_NAME_TRIES: Final = 10


class FileLock:
    """Held from `acquire` to `release`, for a path that need not exist."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.tally = Tally(descriptor)

    @classmethod
    def acquire(cls, path: Path) -> Self | None:
        """Become the owner of `path`; return None when somebody else is. May raise OSError."""
        lock_path = path.with_name(path.name + SUFFIX)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(lock_path, flags, _MODE)
        try:
            if _lock(descriptor) and _is_at(descriptor, lock_path):
                os.fchmod(descriptor, _MODE)  # whatever the umask took away
                return cls(lock_path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def leave(self) -> None:
        """Let the next process have it, with the tally as it is; once, whoever calls it again.

        The descriptor is somebody else's by then.
        """
        descriptor, self._descriptor = self._descriptor, -1
        self.tally = Tally(-1)
        if descriptor >= 0:
            os.close(descriptor)

    def release(self) -> None:
        """Let the next process have it; leaves no lock file behind."""
        try:
            self._path.unlink(missing_ok=True)  # while it is held: nobody else's goes
        finally:
            self.leave()


def lock_new_name(directory: Path, new_name: Callable[[], str]) -> tuple[Path, FileLock]:
    """Return a path with a new name, and its lock: somebody who tidies up may hold the first's."""
    for _ in range(_NAME_TRIES):
        path = directory / new_name()
        if lock := FileLock.acquire(path):
            return path, lock
    raise BlockingIOError


def is_owned(path: Path) -> bool:
    """Whether a living process owns `path`. May raise OSError.

    For a moment it keeps others from becoming the owner; they try again.
    """
    with _existing(path) as descriptor:
        return descriptor is not None and not _lock(descriptor, fcntl.LOCK_SH)


def noted_events(path: Path) -> int | None:
    """Return how many events the last owner of `path` noted; None if it did not end by a kill.

    May raise OSError.
    """
    with _existing(path) as descriptor:
        return None if descriptor is None else Tally(descriptor).read()


@contextmanager
def _existing(path: Path) -> Iterator[int | None]:
    """Open a lock file that is there."""
    try:
        lock_path = path.with_name(path.name + SUFFIX)
        descriptor = os.open(lock_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file is still the one at `path`: its last owner may just have unlinked it.

    A lock on an unlinked file would leave two owners, each with a lock of its own.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
