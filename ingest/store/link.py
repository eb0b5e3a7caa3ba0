"""A writer's own connection to Postgres: one COPY at a time, never longer than its time-out."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg

from ingest.store.copier import Copier, CopyConnection, query
from ingest.store.failures import Outage, RowRefused, Unavailable, while_sending
from ingest.store.postgres import Postgres, close

_CLOSE_TIMEOUT_S = 2.0
_COMMIT = query("COMMIT")
_ROLLBACK = query("ROLLBACK")
_STAGING = "nonito_staging"


class CopyLink:
    """Connects when needed, and lets go of a connection that failed in any way."""

    def __init__(self, postgres: Postgres, table: str, columns: tuple[str, ...], key: str) -> None:
        self._postgres = postgres
        named = ", ".join(columns)
        statement = f"COPY {table} ({named}) FROM STDIN (FORMAT binary)"
        self._statement = query(statement)
        self._begin = query(postgres.begin)
        self._begin_and_copy = query(f"{postgres.begin}; {statement}")
        self._make_staging = query(f"CREATE TEMP TABLE {_STAGING} (LIKE {table}) ON COMMIT DROP")
        self._copy_to_staging = query(f"COPY {_STAGING} ({named}) FROM STDIN (FORMAT binary)")
        self._insert_missing = query(
            f"INSERT INTO {table} ({named}) SELECT {named} FROM {_STAGING} ORDER BY {key}"  # noqa: S608
            f" ON CONFLICT ({key}) DO NOTHING"
        )
        self._timeout_s = postgres.commit_timeout_s
        self._connection: CopyConnection | None = None
        self._copier: Copier | None = None

    async def copy(self, document: bytes, rows: int) -> None:
        """COPY a binary document of `rows` rows and commit; raise RowRefused or Unavailable.

        Connecting, where that is needed, counts towards the time-out.
        """
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        copier = await self._connected()
        copy = self._copy_in_transaction if self._postgres.is_pooled else self._copy
        await self._run(copier, copy(copier, document, rows), rows, end_s)

    async def rehearse(self, document: bytes, rows: int) -> None:
        """Do the same without committing, to find out whether these rows are accepted."""
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        copier = await self._connected()
        await self._run(copier, self._copy_and_roll_back(copier, document, rows), rows, end_s)

    async def merge(self, document: bytes, rows: int) -> None:
        """Store and commit the rows whose keys are not there yet; raise RowRefused or Unavailable.

        For rows that an earlier try may have stored. Sorted, because two that insert the same keys
        in opposite orders deadlock.
        """
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        copier = await self._connected()
        await self._run(copier, self._merge(copier, document, rows), rows, end_s)

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
        _check(await copier.copy(self._statement, document), rows)

    async def _copy_in_transaction(self, copier: Copier, document: bytes, rows: int) -> None:
        """Do the same so that a pooler keeps the connection for us until all of it has arrived.

        PgBouncer lends it to others once Postgres has answered. After an error that is too early:
        the next client's words then follow half a message of ours, and the connection hangs.
        """
        try:
            tag = await copier.copy(self._begin_and_copy, document)
        except asyncpg.PostgresError:
            await copier.execute(_ROLLBACK)
            raise
        _check(tag, rows)
        await copier.execute(_COMMIT)

    async def _copy_and_roll_back(self, copier: Copier, document: bytes, rows: int) -> None:
        await copier.execute(self._begin)
        try:
            await self._copy(copier, document, rows)
        except asyncpg.PostgresError:
            await copier.execute(_ROLLBACK)
            raise
        await copier.execute(_ROLLBACK)

    async def _merge(self, copier: Copier, document: bytes, rows: int) -> None:
        await copier.execute(self._begin)
        try:
            await copier.execute(self._make_staging)
            tag = await copier.copy(self._copy_to_staging, document)
            _check(tag, rows)
            await copier.execute(self._insert_missing)
        except asyncpg.PostgresError:
            await copier.execute(_ROLLBACK)
            raise
        await copier.execute(_COMMIT)

    async def _run(
        self, copier: Copier, work: Coroutine[Any, Any, None], rows: int, end_s: float
    ) -> None:
        """Do one COPY; let go of the connection if it fails for any reason but a row.

        One timer is all: a task of its own and an `asyncio.wait` cost 45 µs a batch.
        """
        expiry = asyncio.get_running_loop().call_at(end_s, copier.abort, TimeoutError())
        try:
            await work
        except Exception as error:  # noqa: BLE001 - of any kind: it is classified, then raised
            failure = _judge(error, rows)
        except BaseException:
            self._let_go()
            raise
        else:
            return
        finally:
            expiry.cancel()
        if not isinstance(failure, RowRefused):
            self._let_go()
        try:
            raise failure
        finally:
            del failure  # with its traceback it holds this frame, and a document of some MiB

    def _let_go(self) -> None:
        connection = self._connection
        self._connection = self._copier = None
        if connection is not None:
            connection.terminate()


def _check(tag: str, rows: int) -> None:
    if tag != f"COPY {rows}":  # a trigger that drops rows, or a bug of ours
        raise Unavailable(f"{tag} instead of COPY {rows}", stored=None, outage=Outage.AWAY)


def _judge(error: Exception, rows: int) -> RowRefused | Unavailable:
    """Classify a failure; without its traceback, which would keep the document."""
    if isinstance(error, Unavailable):
        return error.with_traceback(None)
    failure = while_sending(error, rows)
    failure.__cause__ = error.with_traceback(None)
    return failure
