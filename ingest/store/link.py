"""A writer's own connection to Postgres: one COPY at a time, never longer than its time-out."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg

from ingest.store.copier import Copier, CopyConnection, query
from ingest.store.failures import Outage, RowRefused, Unavailable, while_sending
from ingest.store.postgres import Postgres, close

_CLOSE_TIMEOUT_S = 2.0
_BEGIN = query("BEGIN")
_ROLLBACK = query("ROLLBACK")


class CopyLink:
    """Connects when needed, and lets go of a connection that failed in any way."""

    def __init__(self, postgres: Postgres, table: str, columns: tuple[str, ...]) -> None:
        self._postgres = postgres
        self._statement = query(f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)")
        self._timeout_s = postgres.commit_timeout_s
        self._connection: CopyConnection | None = None
        self._copier: Copier | None = None

    async def copy(self, document: bytes, rows: int) -> None:
        """COPY a binary document of `rows` rows and commit; raise RowRefused or Unavailable.

        Connecting, where that is needed, counts towards the time-out.
        """
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        copier = await self._connected()
        await self._run(copier, self._copy(copier, document, rows), rows, end_s)

    async def rehearse(self, document: bytes, rows: int) -> None:
        """Do the same without committing, to find out whether these rows are accepted."""
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        copier = await self._connected()
        await self._run(copier, self._copy_and_roll_back(copier, document, rows), rows, end_s)

    async def open(self) -> None:
        """Connect now, so that the first batch need not; raise Unavailable."""
        await self._connected()

    async def close(self) -> None:
        """Let go of the connection."""
        connection, copier = self._connection, self._copier
        self._connection = self._copier = None
        if connection is not None and copier is not None:
            copier.give_back()
            await close(connection, _CLOSE_TIMEOUT_S)

    async def _connected(self) -> Copier:
        if self._copier is None or self._connection is None or self._connection.is_closed():
            self._connection = self._copier = None
            self._connection = await self._postgres.connect()
            self._copier = self._connection.lend()
        return self._copier

    async def _copy(self, copier: Copier, document: bytes, rows: int) -> None:
        tag = await copier.copy(self._statement, document)
        if tag != f"COPY {rows}":  # a trigger that drops rows, or a bug of ours
            raise Unavailable(f"{tag} instead of COPY {rows}", stored=None, outage=Outage.AWAY)

    async def _copy_and_roll_back(self, copier: Copier, document: bytes, rows: int) -> None:
        await copier.execute(_BEGIN)
        try:
            await self._copy(copier, document, rows)
        except asyncpg.PostgresError:
            await copier.execute(_ROLLBACK)
            raise
        await copier.execute(_ROLLBACK)

    async def _run(
        self, copier: Copier, work: Coroutine[Any, Any, None], rows: int, end_s: float
    ) -> None:
        """Do one COPY; let go of the connection if it fails for any reason but a row.

        One timer is all: a task of its own and an `asyncio.wait` cost 45 µs a batch.
        """
        expiry = asyncio.get_running_loop().call_at(end_s, copier.abort, TimeoutError())
        try:
            await work
        except BaseException as error:
            failure = _judge(error, rows)
            if isinstance(failure, RowRefused):
                raise failure from error
            self._let_go()
            if failure is None or failure is error:
                raise
            raise failure from error
        finally:
            expiry.cancel()

    def _let_go(self) -> None:
        connection = self._connection
        self._connection = self._copier = None
        if connection is not None:
            connection.terminate()


def _judge(error: BaseException, rows: int) -> RowRefused | Unavailable | None:
    """Classify a failure; None for what is no failure of Postgres's, such as cancellation."""
    if isinstance(error, Unavailable):
        return error
    return while_sending(error, rows) if isinstance(error, Exception) else None
