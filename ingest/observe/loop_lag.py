"""The event loop's lag: how much later than asked for it comes back to what waits for it.

Whatever a client does waits as long, before anything of ours can take note of it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

_INTERVAL_S: Final = 0.25


async def watch(note: Callable[[float], None]) -> None:
    """Look four times a second, for ever, and have the lag in seconds noted."""
    while True:
        due_s = time.monotonic() + _INTERVAL_S
        await asyncio.sleep(_INTERVAL_S)
        note(max(0.0, time.monotonic() - due_s))
