"""For how long a server's workers were kept from the CPU: a wait of that length is the machine's.

Linux counts for each task how long it could have run and had to wait. Of several workers, and of an
old one and its successor, the one counts that waited longest.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from bench.audit import session
from bench.audit.system import System

_POLL_S: Final = 0.25


@asynccontextmanager
async def noted(system: System) -> AsyncIterator[None]:
    """Note in the history how long any worker of the server has waited for the CPU meanwhile."""
    since_ns, waiting = time.monotonic_ns(), _Waiting(system)
    watching = asyncio.create_task(waiting.watch())
    try:
        yield
    finally:
        watching.cancel()
        waiting.look()
        system.recorder.starved(system.aim, since_ns, waiting.longest_ns)


class _Waiting:
    """What each worker has waited, those that come included."""

    def __init__(self, system: System) -> None:
        self._server = system.server
        self._before_ns = {pid: session.waited_ns(pid) for pid in self._server.workers}
        self._waited_ns: dict[int, int] = {}

    async def watch(self) -> None:
        """Look again and again: who has ended says nothing any more."""
        while True:
            await asyncio.sleep(_POLL_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Look once."""
        for pid in self._server.workers:
            waited_ns = session.waited_ns(pid) - self._before_ns.get(pid, 0)
            self._waited_ns[pid] = max(waited_ns, self._waited_ns.get(pid, 0))

    @property
    def longest_ns(self) -> int:
        """How long the one has waited that waited longest."""
        return max(self._waited_ns.values(), default=0)
