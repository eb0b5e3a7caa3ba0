"""A turn: something that one process of a server does at a time, or a few at most.

Who has it has a lock of POSIX's on one byte of a file that all of them have open, far behind its
end. Such a lock is a process's own and goes when that dies, however it dies. One that hangs keeps
its turns: a supervisor kills a worker that has been stuck for ten seconds, and with it they go.

The locks of a process on a file also go when it closes any descriptor of that file: whoever maps
the file keeps what it has of it open for as long as it lives.
"""

import asyncio
import fcntl
import math
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

PLACES_MAX: Final = 128

_OFFSET: Final = 1 << 40
"""Behind whatever the file holds."""
_BYTES: Final = 2 * PLACES_MAX
"""Of one turn: its places, then the byte that those lock together who wait."""
_POLL_S: Final = 0.02
_REST_MIN_S: Final = 0.05
"""Longer than anybody's pause between two looks."""


class Turn:
    """One turn with its number; `places` processes have it at once.

    Without a `descriptor` there is no other process, and tasks of this one share it.
    """

    def __init__(
        self,
        number: int = 0,
        descriptor: int | None = None,
        *,
        places: int = 1,
        poll_s: float = _POLL_S,
    ) -> None:
        if not 1 <= places <= PLACES_MAX:
            raise ValueError(f"a turn has 1 to {PLACES_MAX} places")
        self._descriptor = descriptor
        first = _OFFSET + number * _BYTES
        self._free = list(range(first, first + places))
        self._held: list[int] = []
        self._waiting_byte = first + PLACES_MAX
        self._poll_s = poll_s
        self._within = asyncio.Semaphore(places)
        """Between the tasks of this process, of which the file's locks know nothing."""
        self._rests_until_s = -math.inf

    @property
    def is_shared(self) -> bool:
        """Whether there may be other processes."""
        return self._descriptor is not None

    @property
    def is_wanted(self) -> bool:
        """Whether another process waits for it just now."""
        is_alone = self._lock(self._waiting_byte, fcntl.LOCK_EX)
        if is_alone:
            self._unlock(self._waiting_byte)
        return not is_alone

    @asynccontextmanager
    async def held(self, timeout_s: float | None = None) -> AsyncIterator[None]:
        """Have it for a while; raise TimeoutError if it can't be had in time."""
        await self.take(timeout_s)
        try:
            yield
        finally:
            self.pass_on()

    async def take(self, timeout_s: float | None = None) -> None:
        """Wait until it is this process's; raise TimeoutError if that takes longer."""
        async with asyncio.timeout(timeout_s):
            await self._within.acquire()
            try:
                self._held.append(await self._take_place())
            except BaseException:
                self._within.release()
                raise

    def pass_on(self, rest_s: float = 0.0) -> None:
        """Let others have it; where somebody waits, don't take it again within `rest_s`.

        Nor before everybody has looked who waits: nobody can be woken, so whoever had it would
        mostly have it again.
        """
        place = self._held.pop()
        if self.is_wanted:
            self._rests_until_s = time.monotonic() + max(rest_s, _REST_MIN_S)
        self._free.append(place)
        self._unlock(place)
        self._within.release()

    async def _take_place(self) -> int:
        """Return a place that is this process's from now on."""
        if (rest_s := self._rests_until_s - time.monotonic()) > 0:
            await asyncio.sleep(rest_s)
        try:
            while (place := self._find_place()) is None:
                self._lock(self._waiting_byte, fcntl.LOCK_SH)  # in vain while somebody looks at it
                await asyncio.sleep(self._poll_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        finally:
            self._unlock(self._waiting_byte)
        return place

    def _find_place(self) -> int | None:
        for place in self._free:
            if self._lock(place, fcntl.LOCK_EX):
                self._free.remove(place)
                return place
        return None

    def _lock(self, byte: int, kind: int) -> bool:
        """Lock a byte if no other process has; return whether that was so. Never waits."""
        if self._descriptor is None:
            return True
        try:
            fcntl.lockf(self._descriptor, kind | fcntl.LOCK_NB, 1, byte, os.SEEK_SET)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        return True

    def _unlock(self, byte: int) -> None:
        if self._descriptor is not None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte, os.SEEK_SET)
