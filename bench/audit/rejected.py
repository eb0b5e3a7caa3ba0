"""What the server has set aside, looked at and tried again as an operator would."""

import asyncio
import time
from typing import Final

from bench.audit.system import System

_WAITING: Final = (
    "SELECT id::text, (extract(epoch FROM rejected_at) * 1000000)::bigint AS at_us, event_params"
    " FROM rejected_events WHERE event_name <> 'poison' ORDER BY id LIMIT $1"
)
_ROUND_EVENTS: Final = 2_000
_ROUNDS_MAX: Final = 100
_ALL: Final = "SELECT id::text, event_params FROM rejected_events"


async def retry(system: System, events_max: int) -> int:
    """Run `nonito rejected retry` for so many that are no poison; return for how many.

    Each is in the history before: only this takes one out of `rejected_events`.
    """
    async with system.database.session() as connection:
        waiting = await connection.fetch(_WAITING, events_max)
    if not waiting:
        return 0
    to_monotonic_ns = time.monotonic_ns() - time.time_ns()
    for event_id, at_us, params in waiting:
        system.recorder.aside(event_id, at_us * 1000 + to_monotonic_ns, params)
    await asyncio.to_thread(
        system.server.command, "rejected", "retry", *(row[0] for row in waiting)
    )
    return len(waiting)


async def retry_all(system: System) -> None:
    """Try all of them again, until none is left or none goes."""
    left = 0
    for _ in range(_ROUNDS_MAX):
        tried = await retry(system, _ROUND_EVENTS)
        if not tried or tried == left < _ROUND_EVENTS:
            return
        left = tried


async def left(system: System) -> dict[str, str]:
    """Return the parameters of what is set aside, by id."""
    async with system.database.session() as connection:
        return {row["id"]: row["event_params"] for row in await connection.fetch(_ALL)}
