"""The links of one process: which connections it writes through, and whose they are.

Each worker has those of the plain and the dedup queue for itself. What is rare, the replay and the
apps that are kept apart, has one connection in the whole server: the worker whose turn it is.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from ingest.delivery import replay
from ingest.delivery.events_table import EVENTS
from ingest.store.idle_link import IdleLink
from ingest.store.link import CopyLink
from ingest.store.partition_map import PartitionMap
from ingest.store.postgres import Postgres
from ingest.store.turn_link import TurnLink

_APART_HOLD_S: Final = 0.25
"""A connection takes 5 to 10 ms, and sixteen workers that all want it have it every 4 s."""

_WATCH_S: Final = 0.1


class Links:
    """All of them; none is connected yet."""

    def __init__(self, postgres: Postgres, partitions: PartitionMap, *, writers: int) -> None:
        self.plain = [CopyLink(postgres, EVENTS, partitions) for _ in range(writers)]
        self.dedup = CopyLink(postgres, EVENTS, partitions)
        turns = postgres.turns
        to_events = (postgres, EVENTS, partitions)
        self.apart = TurnLink(*to_events, turns.apart, hold_s=_APART_HOLD_S)
        self.hung = TurnLink(*to_events, turns.hung, hold_s=_APART_HOLD_S)
        self.replay = TurnLink(*to_events, turns.replay, hold_s=replay.HOLD_S)
        self.idle = IdleLink([self.dedup, *self.plain])
        """For the probe: rather the link of the few."""
        self._in_turns = (self.apart, self.hung, self.replay)

    async def open(self) -> None:
        """Connect what is this process's own, so that first events need not; raise Unavailable."""
        for link in (*self.plain, self.dedup):
            await link.open()

    async def watch(self) -> None:
        """Let other processes have what has no work here, for ever."""
        while True:
            await asyncio.sleep(_WATCH_S)
            for link in self._in_turns:
                await link.pass_on_idle()

    async def close(self) -> None:
        """Let go of all connections."""
        for link in self._all():
            await link.close()

    def _all(self) -> Iterator[CopyLink]:
        yield from (*self.plain, self.dedup, *self._in_turns)
