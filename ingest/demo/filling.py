"""Filling: everything that happened in the shop in a span of time, sent in batches.

Begun again with the same arguments it sends the same events with the same ids, of which those that
are stored already stay as they are.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ingest.demo import documents, traffic
from ingest.demo.scale import Scale
from ingest.demo.sending import Sender
from ingest.demo.shop import Shop
from ingest.demo.traffic import Span
from ingest.demo.visits import Event


class Filled(NamedTuple):
    """What there is behind a filling."""

    events: int
    known: int
    """Visitors."""


def happened(scale: Scale, shop: Shop, span: Span) -> Iterator[Event]:
    """Yield all events of a span, in order; visits that go on behind it are cut off."""
    chance = scale.chance("past", span.begin_ms)
    starts = traffic.by_the_hour(chance, span, scale.visits_per_day, scale.zone)
    return itertools.takewhile(lambda event: event.at_ms < span.end_ms, shop.events(chance, starts))


async def fill(
    sender: Sender, scale: Scale, span: Span, known: int, tell: Callable[[int], None]
) -> Filled:
    """Store what happened in a span; `tell` is told up to when. Raises StartupError.

    The next batch is made up while one is under way.
    """
    shop, events = scale.shop(known), 0
    under_way: asyncio.Task[None] | None = None
    ids = scale.chance("ids", span.begin_ms)
    try:
        for batch in documents.batches(ids, happened(scale, shop, span)):
            if under_way is not None:
                await under_way
            tell(batch.end_ms)
            events += batch.events
            under_way = asyncio.create_task(sender.store(batch.document))
            await asyncio.sleep(0)  # so that it is on its way
        if under_way is not None:
            await under_way
    finally:
        if under_way is not None:
            under_way.cancel()
    return Filled(events, shop.known)
