"""Waiting for what tells nobody: a process that dies, a directory that empties."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], bool], timeout_s: float, poll_s: float) -> bool:
    """Look again and again; return whether the condition came true in time."""
    end_s = time.monotonic() + timeout_s
    while not (is_true := condition()) and time.monotonic() < end_s:  # noqa: ASYNC110 - see above
        await asyncio.sleep(poll_s)
    return is_true
