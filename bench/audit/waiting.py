"""Waiting for what tells nobody: a process that dies, a directory that empties."""

import asyncio
import time
from collections.abc import Callable

Condition = Callable[[], bool]


async def until(condition: Condition, timeout_s: float, poll_s: float) -> bool:
    """Look again and again; return whether the condition came true in time."""
    end_s = time.monotonic() + timeout_s
    while not (is_true := condition()) and time.monotonic() < end_s:  # noqa: ASYNC110 - see above
        await asyncio.sleep(poll_s)
    return is_true


async def until_in_thread(condition: Condition, timeout_s: float, poll_s: float) -> bool:
    """Wait, in a thread, until a condition that blocks is true; return whether it came to be."""
    end_s = time.monotonic() + timeout_s
    while True:
        if await asyncio.to_thread(condition):
            return True
        if time.monotonic() > end_s:
            return False
        await asyncio.sleep(poll_s)
