"""One connection for short work that somebody waits for; it is kept while there is some."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg
import structlog

from ingest.store.failures import NoTurn, Unavailable, while_sending
from ingest.store.postgres import Connection, Postgres, close

log = structlog.get_logger(__name__)

_TIMEOUT_S: Final = 5.0
_TURN_S: Final = 5.0
_FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one
    RuntimeError,
)
"""What asyncpg raises; all else is the work's own."""

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]


class Kept:
    """One piece of work at a time; each ends within some seconds."""

    def __init__(self, postgres: Postgres, timeout_s: float = _TIMEOUT_S) -> None:
        self._postgres = postgres
        self._timeout_s = timeout_s
        """So long a statement may take."""
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def read(self, work: Work[T]) -> T:
        """Return what comes of work that changes nothing; raise Unavailable or RowRefused."""
        try:
            return await self.do(work)
        except NoTurn:
            raise
        except Unavailable as failure:  # what was kept may have died long ago
            log.info("Postgres is asked again", reason=failure.reason)
            return await self.do(work)

    async def change(self, work: Work[T]) -> T:
        """Return what comes of work, in a transaction; raise Unavailable or RowRefused.

        It is not done again: whether it was done is not always known.
        """

        async def within(connection: Connection) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self.do(within)

    async def do(self, work: Work[T]) -> T:
        """Return what comes of work; raise Unavailable, RowRefused, or what it raises itself."""
        try:
            async with asyncio.timeout(_TURN_S):
                await self._turn.acquire()
        except TimeoutError:
            raise NoTurn from None
        try:
            return await self._do(work)
        finally:
            self._turn.release()

    async def _do(self, work: Work[T]) -> T:
        if self._connection is None:
            self._connection = await self._postgres.connect(self._timeout_s)
        try:
            return await work(self._connection)
        except _FAILURES as error:
            self._drop()
            raise while_sending(error) from error
        except asyncio.CancelledError:  # in the middle of something
            self._drop()
            raise

    async def rest(self) -> None:
        """Give the connection back."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                await close(connection, self._timeout_s)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
