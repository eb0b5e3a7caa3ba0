"""A writer's own connection to Postgres: one COPY at a time, never longer than its time-out."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from ingest.store.failures import Outage, Unavailable, while_sending
from ingest.store.postgres import Connection, Postgres, close

_CLOSE_TIMEOUT_S = 2.0


class CopyLink:
    """Connects when needed, and lets go of a connection that failed in any way."""

    def __init__(self, postgres: Postgres, table: str, columns: tuple[str, ...]) -> None:
        self._postgres = postgres
        self._table = table
        self._columns = columns
        self._timeout_s = postgres.commit_timeout_s
        self._connection: Connection | None = None

    async def copy(self, document: memoryview, rows: int) -> None:
        """COPY a binary document of `rows` rows and commit; raise RowRefused or Unavailable.

        Connecting, where that is needed, counts towards the time-out.
        """
        end_s = time.monotonic() + self._timeout_s
        connection = await self._connected()
        await self._run(connection, self._copy(connection, document, rows), rows, end_s)

    async def rehearse(self, document: memoryview, rows: int) -> None:
        """Do the same without committing, to find out whether these rows are accepted."""
        end_s = time.monotonic() + self._timeout_s
        connection = await self._connected()
        work = self._copy_and_roll_back(connection, document, rows)
        await self._run(connection, work, rows, end_s)

    async def open(self) -> None:
        """Connect now, so that the first batch need not; raise Unavailable."""
        await self._connected()

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await close(connection, _CLOSE_TIMEOUT_S)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            self._connection = await self._postgres.connect()
        return self._connection

    async def _copy(self, connection: Connection, document: memoryview, rows: int) -> None:
        tag = await connection.copy_to_table(
            self._table,
            source=document,  # type: ignore[arg-type] # the stubs leave buffers out
            columns=self._columns,
            format="binary",
        )
        if tag != f"COPY {rows}":  # a trigger that drops rows, or a bug of ours
            raise Unavailable(f"{tag} instead of COPY {rows}", stored=None, outage=Outage.AWAY)

    async def _copy_and_roll_back(
        self, connection: Connection, document: memoryview, rows: int
    ) -> None:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await self._copy(connection, document, rows)
        finally:
            await transaction.rollback()

    async def _run(
        self, connection: Connection, work: Coroutine[Any, Any, None], rows: int, end_s: float
    ) -> None:
        # An outer time-out: asyncpg's own does not cover every wait inside a COPY (0.32).
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=end_s - time.monotonic())
        except asyncio.CancelledError:
            self._abandon(connection, task)
            raise
        try:
            if not done:
                raise TimeoutError
            task.result()
        except Unavailable:
            self._abandon(connection, task)
            raise
        except Exception as error:
            failure = while_sending(error, rows)
            if isinstance(failure, Unavailable):
                self._abandon(connection, task)
            raise failure from error

    def _abandon(self, connection: Connection, task: asyncio.Future[None]) -> None:
        self._connection = None
        connection.terminate()
        task.add_done_callback(_forget)
        task.cancel()


def _forget(task: asyncio.Future[None]) -> None:
    """Take note of how an abandoned COPY ended; nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
