"""The event loop's lag: how much later than asked for it comes back to what waits for it.

Whatever a client does waits as long, before anything of ours can take note of it.
"""

import asyncio
import time
from typing import Final

from ingest.observe.histogram import Histogram

_INTERVAL_S: Final = 0.25


async def watch(lag_s: Histogram) -> None:
    """Look four times a second, for ever."""
    while True:
        due_s = time.monotonic() + _INTERVAL_S
        await asyncio.sleep(_INTERVAL_S)
        lag_s.observe(max(0.0, time.monotonic() - due_s))
