"""A writer's own connection to Postgres: one COPY at a time, never longer than its time-out."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from ingest.store.failures import Outage, RowRefused, Unavailable, while_sending
from ingest.store.postgres import Connection, Postgres, close

_CLOSE_TIMEOUT_S = 2.0
_TERMINATE_GRACE_S = 1.0


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
        """Do one COPY; let go of the connection if it fails for any reason but a row.

        At the time-out the connection is terminated, which makes the COPY raise. No task of its own
        and no `asyncio.wait`: they cost 45 of 160 us a batch. Should asyncpg not notice the end of
        its connection (0.32 does not in a COPY from a generator), the work is cancelled.
        """
        expiry = asyncio.get_running_loop().call_later(
            end_s - time.monotonic(), connection.terminate
        )
        try:
            async with asyncio.timeout(end_s - time.monotonic() + _TERMINATE_GRACE_S):
                await work
        except BaseException as error:
            failure = self._judge(error, rows, is_late=time.monotonic() >= end_s)
            if isinstance(failure, RowRefused):
                raise failure from error
            self._connection = None
            connection.terminate()
            if failure is None or failure is error:
                raise
            raise failure from error
        finally:
            expiry.cancel()

    def _judge(
        self, error: BaseException, rows: int, *, is_late: bool
    ) -> RowRefused | Unavailable | None:
        """Classify a failure; None for what is no failure of Postgres's, such as cancellation."""
        if isinstance(error, Unavailable):
            return error
        if not isinstance(error, Exception):
            return None
        failure = while_sending(error, rows)
        if is_late and isinstance(failure, Unavailable):
            return while_sending(TimeoutError())  # whatever its end looked like
        return failure
