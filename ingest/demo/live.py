"""Live: what happens in the shop just now, an event a request, as it comes."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Final

from ingest.demo import documents, traffic
from ingest.demo.scale import Scale
from ingest.demo.sending import Sender

_WARM_MS: Final = 5 * 60_000
"""So long ago the first of them came in, or the shop would be empty for a while."""
_MISTAKE_EVERY, _FIRST_MISTAKE = 40, 15


async def go_on(sender: Sender, scale: Scale, known: int, tell: Callable[[int, int], None]) -> None:
    """Send what happens, for ever; `tell` is told the time and how many visitors there have been.

    Whether it is taken is not asked: what a server has to say of it, its dashboard shows.
    """
    begin_ms = time.time_ns() // 1_000_000
    shop, chance = scale.shop(known), scale.chance("live", begin_ms)
    events = shop.events(chance, traffic.rush(chance, begin_ms - _WARM_MS))
    current = itertools.dropwhile(lambda event: event.at_ms < begin_ms, events)
    for number, event in enumerate(current):
        await asyncio.sleep(max(0.0, event.at_ms / 1000 - time.time()))
        await sender.try_once(documents.now(event))
        if number % _MISTAKE_EVERY == _FIRST_MISTAKE:
            await sender.try_once(chance.choice(documents.MISTAKES))
        tell(event.at_ms, shop.known)
