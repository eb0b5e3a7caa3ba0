"""For how long a server's workers were kept from the CPU: a wait of that length is the machine's.

Linux counts for each task how long it could have run and had to wait. Of several workers, and of an
old one and its successor, the one counts that waited longest in each short while.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from bench.audit import session
from bench.audit.system import System

_POLL_S: Final = 0.25


@asynccontextmanager
async def noted(system: System) -> AsyncIterator[None]:
    """Note in the history how long workers of the server wait for the CPU meanwhile, and when."""
    waiting = _Waiting(system)
    watching = asyncio.create_task(waiting.watch())
    try:
        yield
    finally:
        watching.cancel()
        waiting.look()


class _Waiting:
    """What each worker has waited, those that come included."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._looking = threading.Lock()
        """At the end two may look: a look that is under way goes on when nobody waits for it."""
        self._since_ns = time.monotonic_ns()
        self._waited_ns = self._read()

    async def watch(self) -> None:
        """Look again and again: who has ended says nothing any more."""
        while True:
            await asyncio.sleep(_POLL_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Look once, and note what the one has waited since the last look that waited longest."""
        with self._looking:
            before, self._waited_ns = self._waited_ns, self._read()
            waited_ns = (now - before.get(pid, 0) for pid, now in self._waited_ns.items())
            self._system.recorder.starved(
                self._system.aim, self._since_ns, max(waited_ns, default=0)
            )
            self._since_ns = time.monotonic_ns()

    def _read(self) -> dict[int, int]:
        return {pid: session.waited_ns(pid) for pid in self._system.server.workers}
