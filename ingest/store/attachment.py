"""How a partition gets into `events` while events come in: which locks it takes, and how long.

A COPY locks the partitions that its rows go to, and `events` in a way that nothing here minds. So
rows that have a partition never wait. But ATTACH PARTITION keeps everybody out of `events_default`
and reads all of it, to see that none of its rows belongs to the new partition: rows for the default
partition do wait. For them, and for whoever waits behind them, everything here is bounded:

1. The lock is asked for with a time-out of 100 ms: meanwhile others queue up behind it.
2. Whatever can be done before it is done before it. A statement under it ends after 500 ms.
3. At most STRAYS_MAX rows are moved out of the default partition at once, and none is when it has
   more than DEFAULT_BYTES_MAX.
4. When it has more, a range ahead of time is attached by a proof instead: a CHECK that is validated
   without keeping anybody out saves ATTACH the reading. Until then it refuses rows of that range,
   so this is only for ranges that no client can reach.

Measured with PostgreSQL 15 and 18 on two busy cores, from lock to commit: 2 to 13 ms with an empty
default partition, 30 ms with 1,000 strays, 100 to 330 ms with 10,000; 40 to 110 ms beside 18 MB of
others; 3 to 16 ms by proof, whatever its size. 100,000 strays would take a second: they stay.

With Citus each partition is a table on every shard. Then the strays wait in a temporary table until
it is attached, as what is in a table already would be copied out of it, and all may take longer.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg

from ingest.store import citus
from ingest.store.periods import Range, first_id, name_of
from ingest.store.postgres import Connection

STRAYS_MAX: Final = 10_000
DEFAULT_BYTES_MAX: Final = 64 << 20
LOCK: Final = 0x6E6F_6E69_746F_0002  # "nonito", 2

_TURN_S: Final = 1.0
_LOOK_S: Final = 2
_LOOK_AT_SHARDS_S: Final = 10
# Waiting for one's turn keeps nobody out. A client that dies with a lock lets go of it in 2 s.
_TAKE_TURN: Final = (
    "SET LOCAL statement_timeout = '20s'; SET LOCAL idle_in_transaction_session_timeout = '2s';"
    f" SET LOCAL lock_timeout = '{{:.0f}}ms'; SELECT pg_advisory_xact_lock({LOCK});"
    " SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '5s'"
)
# In this order: whoever holds the default partition has nothing left to wait for.
_KEEP_OUT: Final = (
    "SET LOCAL statement_timeout = '500ms';"
    " LOCK TABLE ONLY events IN SHARE UPDATE EXCLUSIVE MODE;"
    " LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE"
)
_KEEP_OUT_OF_SHARDS: Final = (
    "SET LOCAL statement_timeout = '3s'",
    "LOCK TABLE ONLY events IN SHARE UPDATE EXCLUSIVE MODE",
    "LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE",
)
_PATIENCE: Final = "SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '25s'"
_COLUMNS: Final = (
    "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
    " WHERE attrelid = 'events'::regclass AND attnum > 0 AND NOT attisdropped"
    " AND attgenerated = ''"
)
_UNREACHABLE_AFTER: Final = timedelta(days=8)
_PROOF: Final = "nonito_proof_"
_STRAYS: Final = "nonito_strays"
_SIZE: Final = "SELECT pg_relation_size('events_default')"
_SIZE_OF_SHARDS: Final = "SELECT citus_relation_size('events_default')"


class PartitionDeferred(Exception):  # noqa: N818 - an outcome, handled
    """A range is left to the default partition: to make it would hold up events for too long."""


class PastDeferred(PartitionDeferred):
    """So is every other range, but those of now and of the time ahead."""


class DefaultTooLarge(PastDeferred):
    """The default partition can't be read under a lock."""


class TooManyPartitions(PastDeferred):
    """There are as many as there may be."""


class StrayDay(NamedTuple):
    """Strays of one app and day."""

    app_id: int
    day: int
    """Since 1970."""
    events: int


@asynccontextmanager
async def turn(connection: Connection, wait_s: float = _TURN_S) -> AsyncIterator[None]:
    """Begin a transaction in which no other server makes partitions; commit it at the end.

    Raises LockNotAvailableError when others have their turns for longer than `wait_s`.
    """
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(_TAKE_TURN.format(wait_s * 1000))
        yield


async def attach(connection: Connection, wanted: Range) -> None:
    """Make a partition within a turn, and move its strays there; one a turn.

    Raises PartitionDeferred or PostgresError. Citus tells no size behind a change, so a second one
    in the same turn would fail.
    """
    await _require_readable_default(connection)
    await _require_few_strays(connection, wanted)
    await _attach(connection, wanted)


async def attach_beside_large_default(connection: Connection, wanted: Range) -> None:
    """Make a partition that can't do without; not within a turn. Raises PostgresError.

    By proof if no client can reach it yet. If one can, the time-out of a statement is the limit.
    """
    if wanted.start > datetime.now(UTC) + _UNREACHABLE_AFTER:
        await _attach_by_proof(connection, wanted)
        return
    async with turn(connection):
        await _attach(connection, wanted)


async def stray_days(connection: Connection, but_of: Sequence[int]) -> list[StrayDay]:
    """Return of which days there are strays, but of some apps; the most first; raise as `attach`.

    It has a turn: nobody is refused the default partition because it is being read here.
    """
    async with turn(connection):
        await _require_readable_default(connection)
        limit_s = _LOOK_AT_SHARDS_S if await citus.is_distributed(connection) else _LOOK_S
        await connection.execute(f"SET LOCAL statement_timeout = '{limit_s}s'")
        rows = await connection.fetch(
            "SELECT app_id, count(*) AS events,"
            " ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint / 86400000 AS day"
            " FROM events_default WHERE app_id <> ALL ($1::int[])"
            " GROUP BY app_id, day ORDER BY events DESC LIMIT 2000",
            but_of,
        )
    return [StrayDay(row["app_id"], row["day"], row["events"]) for row in rows]


async def _attach(connection: Connection, wanted: Range) -> None:
    """Make a partition and move its strays there, within the time-outs of a turn."""
    name = name_of(wanted)
    await connection.execute(f"CREATE TABLE {name} (LIKE events INCLUDING ALL)")
    columns = await connection.fetchval(_COLUMNS)
    if await citus.is_distributed(connection):
        await _attach_to_shards(connection, wanted, columns)
        return
    # Names and bounds are ours, made of digits: no parameter can stand in their place. All in one
    # message, so that no round trip is spent under the lock.
    await connection.execute(
        f"{_KEEP_OUT}; WITH strays AS (DELETE FROM events_default WHERE {_holds(wanted)}"  # noqa: S608
        f" RETURNING {columns}) INSERT INTO {name} ({columns}) SELECT {columns} FROM strays;"
        f" {_attachment(wanted)}"
    )


async def _attach_to_shards(connection: Connection, wanted: Range, columns: str) -> None:
    """Attach a partition that is made, and move its strays there, a statement a message."""
    name = name_of(wanted)
    strays = f"SELECT {columns} FROM events_default WHERE {_holds(wanted)}"  # noqa: S608 - as below
    for statement in (
        *_KEEP_OUT_OF_SHARDS,
        f"CREATE TEMP TABLE {_STRAYS} ON COMMIT DROP AS {strays}",
        f"DELETE FROM events_default WHERE {_holds(wanted)}",  # noqa: S608
        _attachment(wanted),
        f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {_STRAYS}",  # noqa: S608
        f"DROP TABLE {_STRAYS}",
    ):
        await connection.execute(statement)


async def _attach_by_proof(connection: Connection, wanted: Range) -> None:
    """Make a partition without reading the default one; raise PostgresError, also for a stray."""
    proof = f"{_PROOF}{name_of(wanted)}"
    change = "ALTER TABLE events_default"
    try:
        async with turn(connection):
            await connection.execute(
                f"{change} ADD CONSTRAINT {proof} CHECK (NOT ({_holds(wanted)})) NOT VALID"
            )
        async with connection.transaction():
            await connection.execute(f"{_PATIENCE}; {change} VALIDATE CONSTRAINT {proof}")
        async with turn(connection):
            await connection.execute(f"CREATE TABLE {name_of(wanted)} (LIKE events INCLUDING ALL)")
            await connection.execute(f"{_KEEP_OUT}; {_attachment(wanted)}")
            await connection.execute(f"{change} DROP CONSTRAINT {proof}")
    except asyncpg.PostgresError:
        with suppress(asyncpg.PostgresError):
            await drop_proofs(connection)
        raise


async def drop_proofs(connection: Connection) -> None:
    """Take away what a server that died left of a proof: it would refuse events one day.

    Raises PostgresError.
    """
    rows = await connection.fetch(
        "SELECT quote_ident(conname) AS proof FROM pg_constraint"
        " WHERE conrelid = 'events_default'::regclass AND starts_with(conname, $1)",
        _PROOF,
    )
    for row in rows:
        async with turn(connection):
            await connection.execute(
                f"ALTER TABLE events_default DROP CONSTRAINT IF EXISTS {row['proof']}"
            )


async def _require_readable_default(connection: Connection) -> None:
    is_distributed = await citus.is_distributed(connection)
    size = await connection.fetchval(_SIZE_OF_SHARDS if is_distributed else _SIZE)
    if size > DEFAULT_BYTES_MAX:
        raise DefaultTooLarge(f"it has {size} bytes, too many to be read under a lock")


async def _require_few_strays(connection: Connection, wanted: Range) -> None:
    some = f"SELECT 1 FROM events_default WHERE {_holds(wanted)} LIMIT {STRAYS_MAX + 1}"  # noqa: S608
    if await connection.fetchval(f"SELECT count(*) FROM ({some}) AS strays") > STRAYS_MAX:  # noqa: S608
        raise PartitionDeferred(
            f"they are more than {STRAYS_MAX}, too many to be moved under a lock"
        )


def _holds(wanted: Range) -> str:
    return f"id >= '{first_id(wanted.start)}' AND id < '{first_id(wanted.end)}'"


def _attachment(wanted: Range) -> str:
    bounds = f"FROM ('{first_id(wanted.start)}') TO ('{first_id(wanted.end)}')"
    return f"ALTER TABLE events ATTACH PARTITION {name_of(wanted)} FOR VALUES {bounds}"
