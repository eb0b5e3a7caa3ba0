"""A writer's own connection to Postgres: one COPY at a time, never longer than its time-out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import asyncpg

from ingest.store import identity
from ingest.store.copier import NO_ROWS, Copier, CopyConnection, query
from ingest.store.distributed_merge import DistributedMerge
from ingest.store.failures import (
    DROPPED,
    NO_DATA,
    AlreadyStored,
    RowRefused,
    RowsDropped,
    Unavailable,
    perhaps_committed,
    perhaps_stored,
    while_sending,
    without_rows,
)
from ingest.store.merge import Earlier, Merge, Merged, Scattered
from ingest.store.partition_map import PartitionMap
from ingest.store.postgres import Postgres, close
from ingest.store.sift import Sift, Sifted
from ingest.store.table import Table

T = TypeVar("T")

_CLOSE_TIMEOUT_S = 2.0
_HELD: Final = nullcontext()
_COMMIT = query("COMMIT")
_ROLLBACK = query("ROLLBACK")
_IDENTIFY = query(identity.QUERY)


class CopyLink:
    """Connects when needed, and lets go of a connection that failed in any way."""

    def __init__(
        self, postgres: Postgres, table: Table, partitions: PartitionMap | None = None
    ) -> None:
        self._postgres = postgres
        statement = f"COPY {table.name} ({table.column_list}) FROM STDIN (FORMAT binary)"
        self._statement = query(statement)
        self._begin_and_copy = query(f"{postgres.begin}; {statement}")
        known = partitions or PartitionMap()
        self._merge_by = (
            Merge(postgres.begin, table, known),
            DistributedMerge(postgres.begin, table, known),
        )
        self._sifting = Sift(postgres.begin, table)
        is_it = " AND ".join(f"{table.name}.{name} = sent.{name}" for name in table.primary_key)
        self._missing = (
            f"SELECT at FROM (VALUES {{}}) AS sent (at, {', '.join(table.primary_key)})"  # noqa: S608
            f" WHERE (SELECT true FROM {table.name} WHERE {is_it}"
            f" AND {table.name}.id BETWEEN '{{}}' AND '{{}}' LIMIT 1) IS NULL"
        )
        self._timeout_s = postgres.commit_timeout_s
        self._using = asyncio.Lock()
        """Between its writer and the probe of the database."""
        self._connection: CopyConnection | None = None
        self._copier: Copier | None = None

    @property
    def _merging(self) -> Merge:
        return self._merge_by[self._postgres.has_citus]

    @property
    def is_distributed(self) -> bool:
        """Whether rows are on several nodes of Citus, as far as is known."""
        return self._postgres.has_citus

    @property
    def is_busy(self) -> bool:
        """Whether something is on its way here."""
        return self._using.locked()

    def held(self, timeout_s: float) -> AbstractAsyncContextManager[None]:  # noqa: ARG002 - see TurnLink
        """Have the link for some work, within `timeout_s`; this one is always had."""
        return _HELD

    @property
    def is_due(self) -> bool:
        """Whether others wait to have it by now; see TurnLink."""
        return False

    async def copy(self, document: bytes, rows: int) -> None:
        """COPY a binary document of `rows` rows and commit; raise RowRefused or Unavailable.

        Behind RowsDropped, which is a RowRefused, `missing` tells which of them are not there.
        Connecting, where that is needed, counts towards the time-out.
        """

        def work(copier: Copier) -> Awaitable[None]:  # known once it is connected
            copy = self._copy_in_transaction if self._postgres.is_pooled else self._copy
            done = copy(copier, document, rows)
            return _telling_stored(done) if self._postgres.has_citus else done

        await self._run(work, rows)

    async def merge(
        self, document: bytes, rows: int, *, has_keys: bool, wants_earlier: bool = False
    ) -> Merged:
        """Store and commit the rows whose keys are not there yet.

        Raises RowRefused, Unavailable, or Scattered: then nothing is stored, and less is to be sent
        at once.

        For rows that an earlier try may have stored. Returns what was there, if that is asked for.
        `has_keys` tells whether any row has an idempotency key.
        """
        merge = partial(self._merge, has_keys=has_keys, wants_earlier=wants_earlier)
        return await self._run(lambda copier: merge(copier, document, rows), rows)

    async def require_database(self) -> None:
        """Raise AnotherDatabase if the connection leads to one by now, or Unavailable.

        A new connection is looked at by itself; this is for one that lasts.
        """
        if self._postgres.database_id is not None:
            await self._run(self._require_database, 0)

    async def sift(
        self, document: bytes, rows: int, *, has_keys: bool, wants_earlier: bool = False
    ) -> Sifted:
        """Store and commit what Postgres takes, row by row, and tell what it says of the others.

        Ten times the price of a COPY, but the same for one bad row and for a thousand. Raises
        RowRefused for a row that can't even be read, or when all were refused together, or
        Unavailable.
        """
        sift = partial(self._sift, has_keys=has_keys, wants_earlier=wants_earlier)
        return await self._run(lambda copier: sift(copier, document), rows)

    async def missing(self, ids: Sequence[tuple[int, UUID]]) -> set[int]:
        """Return the indices of events that are not there, by app and id; raise Unavailable."""
        values = ", ".join(f"({at}, {app}, '{id_}'::uuid)" for at, (app, id_) in enumerate(ids))
        between = [id_ for _, id_ in ids]  # for the planner, that it leaves partitions out
        statement = query(self._missing.format(values, min(between), max(between)))
        found = await self._run(lambda copier: copier.fetch(statement), 0)
        return {int(at or b"") for (at,) in found}

    async def probe(self) -> None:
        """COPY no rows, which needs all that a batch needs but for its rows; raise Unavailable.

        Among that, that the database is still the one that is meant.
        """
        await self.require_database()
        await self.copy(NO_ROWS, 0)

    async def open(self) -> None:
        """Connect now, so that the first batch need not; raise Unavailable."""
        async with self._using:
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

    async def _require_database(self, copier: Copier) -> None:
        rows = await copier.fetch(_IDENTIFY)
        self._postgres.require(identity.from_text(rows[0][0]) if rows else None)

    async def _copy(self, copier: Copier, document: bytes, rows: int) -> None:
        _check_dropped(await copier.copy(self._statement, document), rows)

    async def _copy_in_transaction(self, copier: Copier, document: bytes, rows: int) -> None:
        """COPY and commit so that a pooler keeps the connection for us until all of it has arrived.

        PgBouncer lends it to others once Postgres has answered. After an error that is too early:
        the next client's words then follow half a message of ours, and the connection hangs.
        """
        async with _rolling_back(copier):
            tag = await copier.copy(self._begin_and_copy, document)
        await copier.execute(_COMMIT)
        _check_dropped(tag, rows)

    async def _merge(
        self, copier: Copier, document: bytes, rows: int, *, has_keys: bool, wants_earlier: bool
    ) -> Merged:
        earlier: list[Earlier] = []
        async with _rolling_back(copier):
            inserted = await self._merging.run(copier, document, has_keys=has_keys)
            if inserted < rows:
                ranges = await self._merging.look(copier)
                _check_missing(await self._merging.count_missing(copier, ranges))
                if wants_earlier:
                    earlier = await self._merging.ask(copier, ranges)
        await self._commit(copier)
        return Merged(rows - inserted, earlier)

    async def _sift(
        self, copier: Copier, document: bytes, *, has_keys: bool, wants_earlier: bool
    ) -> Sifted:
        async with _rolling_back(copier):
            sifted = await self._sifting.run(copier, document, has_keys=has_keys)
            if self._postgres.has_citus:  # a COPY, of nothing too, is committed in two phases
                await copier.copy(self._statement, NO_ROWS)
            if sifted.existing and wants_earlier:
                ranges = await self._merging.look(copier)
                sifted = sifted._replace(earlier=await self._merging.ask(copier, ranges))
        await self._commit(copier)
        return sifted

    async def _commit(self, copier: Copier) -> None:
        """Commit; raise Unavailable if a node of Citus has failed then: XX000 is no row's fault."""
        try:
            await copier.execute(_COMMIT)
        except asyncpg.InternalServerError as error:
            if not self._postgres.has_citus:
                raise
            raise perhaps_committed(error) from error

    async def _run(self, work: Callable[[Copier], Awaitable[T]], rows: int) -> T:
        """Do one COPY; let go of the connection if it fails for any reason but a row.

        Whoever comes meanwhile waits, and its time begins when this one has ended. One timer is
        all: a task of its own and an `asyncio.wait` cost 45 µs a batch.
        """
        async with self._using:
            end_s = asyncio.get_running_loop().time() + self._timeout_s
            copier = await self._connected()
            return await self._run_on(copier, work, rows, end_s)

    async def _run_on(
        self, copier: Copier, work: Callable[[Copier], Awaitable[T]], rows: int, end_s: float
    ) -> T:
        expiry = asyncio.get_running_loop().call_at(end_s, copier.abort, TimeoutError())
        try:
            return await work(copier)
        except Exception as error:  # noqa: BLE001 - of any kind: it is classified, then raised
            failure = _judge(error, rows)
        except BaseException:
            self._let_go()
            raise
        finally:
            expiry.cancel()
        if not isinstance(failure, RowRefused | AlreadyStored | Scattered):
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


@asynccontextmanager
async def _rolling_back(copier: Copier) -> AsyncIterator[None]:
    """End the transaction when Postgres refuses something in it, or the merge does."""
    try:
        yield
    except (asyncpg.PostgresError, RowRefused, Scattered):
        await copier.execute(_ROLLBACK)
        raise


async def _telling_stored(copy: Awaitable[None]) -> None:
    """Do a COPY through Citus, which says XX000 of whatever a node has said.

    Raises AlreadyStored then: perhaps a row is stored, perhaps one is bad, and a merge tells.
    """
    try:
        await copy
    except asyncpg.InternalServerError as error:
        raise perhaps_stored(error) from error


def _check_dropped(tag: str, rows: int) -> None:
    if tag != f"COPY {rows}":  # nothing else can lower the number
        raise RowsDropped(int(tag.rpartition(" ")[2]))


def _check_missing(rows: int) -> None:
    if rows:
        raise RowRefused(None, NO_DATA, DROPPED, is_told=False, is_doubtful=True)


def _judge(error: Exception, rows: int) -> RowRefused | Unavailable | Scattered:
    """Classify a failure; without its traceback, which would keep the document."""
    if isinstance(error, RowRefused | Unavailable | Scattered):
        return error.with_traceback(None)
    if not rows and isinstance(error, asyncpg.PostgresError):  # such as of a trigger per statement
        failure: RowRefused | Unavailable = without_rows(error)
    else:
        failure = while_sending(error, rows)
    failure.__cause__ = error.with_traceback(None)
    return failure
