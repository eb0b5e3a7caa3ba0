"""A lock on one byte of the file that processes of a server share, for some microseconds of work.

A lock of POSIX's is a process's own and goes when that dies, however it dies.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_WAIT_S: Final = 0.01
"""One holds it for some microseconds, unless it is stopped just then."""


class ByteLock:
    """Held by one process at a time; who can't have it soon does without."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._offset = offset

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Have it, if that is possible soon; yields whether it is."""
        is_locked = self._lock()
        try:
            yield is_locked
        finally:
            if is_locked:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._offset)

    def _lock(self) -> bool:
        end_s = time.monotonic() + _WAIT_S
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._offset)
            except (BlockingIOError, PermissionError):
                if time.monotonic() > end_s:
                    return False
                os.sched_yield()
            else:
                return True
