"""The seeded bugs that the simulation has to find by itself: the audit's, and some of its own."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from bench.audit.bugs import BUGS as AUDITED
from bench.audit.patch import replace
from bench.errors import BenchError
from ingest.delivery import queue
from ingest.delivery.batch import Batch
from ingest.delivery.queue import EventQueue

_NEVER_S: Final = 1e9


def lost_wake_up() -> None:
    """Have writers wait for a batch that the spill has, whose owner takes no other one from there.

    As it once was, when nobody looked again either: the last events waited until as many had come
    as that batch holds.
    """
    original = EventQueue.take_spill

    async def take_spill(self: EventQueue) -> Batch:
        batch = await original(self)
        self._in_copy[batch] = time.monotonic()
        return batch

    async def wait(self: EventQueue) -> None:
        idle = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        await idle

    replace(EventQueue, "take_spill", take_spill)
    replace(EventQueue, "_wait", wait)
    replace(queue, "SLOW_COPY_S", _NEVER_S)


NOT_HERE: Final = {
    "answers-swapped": "HTTP connections have the answers, and are not simulated",
    "memory-leaks": "memory is not measured",
    "rejected-retry-ignores-keys": "a command does it, not the pipeline",
    "dead-workers-counts-forgotten": "one process is simulated, not several workers",
    "left-events-forgotten": "one process is simulated, not several workers",
    "replaced-worker-hangs-up": "one process is simulated, not several workers",
    "door-closed-for-all": "one process is simulated, not several workers",
    "successor-comes-late": "one process is simulated, not several workers",
    "orphans-serve-on": "one process is simulated, not several workers",
    "dead-workers-spool-waits": "one process is simulated, not several workers",
    **{name: "one server is simulated" for name, bug in AUDITED.items() if bug.servers > 1},
    **{name: "the archive is not simulated" for name, bug in AUDITED.items() if bug.is_archives},
}
"""Bugs of the audit that can't be found, and why."""

BUGS: Final[dict[str, Callable[[], None]]] = {
    **{name: bug.plant for name, bug in AUDITED.items() if name not in NOT_HERE},
    "lost-wake-up": lost_wake_up,
}


def require(name: str) -> None:
    """Raise BenchError for a bug that there is not; an empty name is none at all."""
    if name and name not in BUGS:
        why = NOT_HERE.get(name, f"bugs are {', '.join(BUGS)}")
        raise BenchError(f"the bug {name!r} can't be simulated: {why}")


def plant(name: str) -> None:
    """Break the product in this process; raise BenchError for a bug that there is not."""
    require(name)
    if name:
        BUGS[name]()
