"""A link that one process of a server has at a time, with all that is written through it.

Whoever has it keeps it, and its connection, until another process waits for it: alone, a process
connects once. Then it goes on for a while, since a connection costs some milliseconds, and longer
than that only to end what it has begun.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest.share.turn import Turn
from ingest.store.failures import NoTurn
from ingest.store.link import CopyLink
from ingest.store.partition_map import PartitionMap
from ingest.store.postgres import Postgres
from ingest.store.table import Table


class TurnLink(CopyLink):
    """Connects within its turn only; everything goes through it while it is `held`."""

    def __init__(
        self,
        postgres: Postgres,
        table: Table,
        partitions: PartitionMap | None,
        turn: Turn,
        *,
        hold_s: float,
    ) -> None:
        super().__init__(postgres, table, partitions)
        self._turn = turn
        self._hold_s = hold_s
        """So long it is kept though others wait."""
        self._has_turn = False
        self._since_s = 0.0
        self._work = asyncio.Lock()
        """Between the work and its passing on."""

    @property
    def is_due(self) -> bool:
        """Whether another process waits for it, and it was here for long enough."""
        is_over = self._has_turn and time.monotonic() - self._since_s >= self._hold_s
        return is_over and self._turn.is_wanted

    @asynccontextmanager
    async def held(self, timeout_s: float) -> AsyncIterator[None]:
        """Have it for a piece of work; raise NoTurn if others have it for longer than that.

        Behind it others may have it for as long as the work took: what hangs there, time-out after
        time-out, holds them up no more than half of the time.
        """
        async with self._work:
            if not self._has_turn:
                await self._take(timeout_s)
            began_s = time.monotonic()
            try:
                yield
            finally:
                if self.is_due:
                    await self._pass_on(time.monotonic() - began_s)

    async def pass_on_idle(self) -> None:
        """Pass it on if there is no work, and another process waits for it."""
        if not self._work.locked() and self.is_due:
            async with self._work:
                await self._pass_on(0.0)

    async def close(self) -> None:
        """Let go of the connection, and of the turn."""
        try:
            await super().close()
        finally:
            if self._has_turn:
                self._has_turn = False
                self._turn.pass_on()

    async def _take(self, timeout_s: float) -> None:
        try:
            await self._turn.take(timeout_s)
        except TimeoutError:
            raise NoTurn from None
        self._has_turn, self._since_s = True, time.monotonic()

    async def _pass_on(self, rest_s: float) -> None:
        try:
            await super().close()
        finally:
            self._has_turn = False
            self._turn.pass_on(rest_s)
