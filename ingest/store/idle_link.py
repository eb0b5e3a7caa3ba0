"""The way of the probe: over a link that has nothing to do, so that it needs none of its own."""

from collections.abc import Sequence
from typing import Final

from ingest.store.link import CopyLink


class IdleLink:
    """Whichever of several links is idle; the first of them if it may choose.

    If all are busy, the probe comes behind what the first one does: that proves as much, and has a
    time-out. A link that fails then has let go of its connection, and the probe makes a new one.
    """

    def __init__(self, links: Sequence[CopyLink]) -> None:
        self._links: Final = links

    async def probe(self) -> None:
        """Do what a batch would, but for the rows; raise Unavailable."""
        idle = (each for each in self._links if not each.is_busy)
        await next(idle, self._links[0]).probe()
