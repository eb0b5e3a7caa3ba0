"""Rejected events: what was acknowledged, and refused by Postgres when nobody waited any more.

Nothing is lost here: a row leaves the table only together with its event's arrival in `events`, in
one transaction, or because somebody said to drop it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from ingest.share.turn import Turn
from ingest.store import merge
from ingest.store.failures import (
    CHECK_VIOLATION,
    DROPPED,
    NO_DATA,
    NOTHING,
    AlreadyStored,
    Named,
    RowRefused,
    Unavailable,
    of_row,
    while_sending,
    without_rows,
)
from ingest.store.postgres import Connection, Postgres
from ingest.store.table import Column, Table

MESSAGE_CHARS_MAX: Final = 1_000
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_NO_OBJECT: Final = ("22023", "event_params must be a JSON object")  # invalid parameter value
COUNTED_MAX: Final = 100_000
"""Rejected events are counted up to so many, which takes some 10 ms."""
_COUNT: Final = "SELECT count(*) FROM (SELECT 1 FROM rejected_events LIMIT $1) AS first"
_IS_STORED: Final = "SELECT EXISTS (SELECT 1 FROM events WHERE app_id = $1 AND id = $2)"
_COUNT_INTERVAL_S: Final = 15.0
_JSON: Final = "jsonb"
_NAMED: Final = ("on_table", "on_column", "broken_constraint")
"""The columns for what Postgres named, in the order of `Named`."""
NAMED_LIST: Final = ", ".join(_NAMED)
_CHOSEN: Final = "($1::uuid[] IS NULL OR id = ANY($1)) AND ($2::int IS NULL OR app_id = $2)"


class Rejected(NamedTuple):
    """An event, and what Postgres said of it."""

    event: Mapping[str, Any]
    """Its columns by name, as texts; None for what is NULL. `event_params` is meant to be a JSON
    object, and need not be even JSON."""
    sqlstate: str
    message: str
    named: Named = NOTHING

    @property
    def id(self) -> UUID:
        """The id of the event."""
        return UUID(self.event["id"])


class Listed(NamedTuple):
    """A rejected event with what only the table knows."""

    rejected: Rejected
    app: str
    """The app's name; `-` for one that is not there."""
    rejected_at: datetime


class RetryResult(Enum):
    """What became of a rejected event that was tried again; the values are for people."""

    STORED = "stored"
    ALREADY_STORED = "already stored"
    """`events` has its id, or the event that its key stands for: that one is left as it is, and the
    rejected one is gone."""
    REFUSED = "refused again"
    NOT_FOUND = "not found"


class Retried(NamedTuple):
    """One event that was tried again."""

    id: UUID
    result: RetryResult
    reason: str = ""
    """Of a refusal: SQLSTATE and message."""


async def keep(
    postgres: Postgres, table: Table, events: Sequence[Rejected], turn: Turn | None = None
) -> None:
    """Do what `add` does, on a connection of its own, in the turn of who replays or in another.

    Raise Unavailable.
    """
    async with postgres.session(turn=turn or postgres.turns.dead_letters) as connection:
        try:
            await add(connection, table, events)
        except asyncpg.PostgresError as error:
            raise without_rows(error) from error


async def add(connection: Connection, table: Table, events: Sequence[Rejected]) -> None:
    """Keep events that Postgres refused; those that are kept already stay as they are.

    `table` is the one that they were meant for. Text that no Postgres holds (U+0000, lone
    surrogates) is kept as its JSON escape, and a message is cut to MESSAGE_CHARS_MAX, so that this
    can't be refused as well. All or none are added.
    """
    # In order of the key: two that add the same ones in opposite orders would deadlock.
    ordered = sorted(events, key=lambda each: (int(each.event["app_id"]), each.id))
    types = [*map(_kept_type, table.columns), "text", "text", *("text" for _ in _NAMED)]
    values = ", ".join(f"${number}::text::{each}" for number, each in enumerate(types, 1))
    await connection.executemany(
        f"INSERT INTO rejected_events ({table.column_list}, sqlstate, message, {NAMED_LIST})"  # noqa: S608
        f" VALUES ({values}) ON CONFLICT (app_id, id) DO NOTHING",
        [_arguments(table, each) for each in ordered],
    )


def _kept_type(column: Column) -> str:
    return "text" if column.sql_type == _JSON else column.sql_type


def _arguments(table: Table, rejected: Rejected) -> list[str | None]:
    values = [rejected.event[column.name] for column in table.columns]
    texts = [None if value is None else storable(str(value)) for value in values]
    return [*texts, rejected.sqlstate, _bounded(rejected.message), *rejected.named]


def storable(text: str) -> str:
    """Return a text with what no Postgres holds as its JSON escape."""
    return _UNSTORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _bounded(message: str) -> str:
    return storable(message[:MESSAGE_CHARS_MAX])[:MESSAGE_CHARS_MAX]


class RejectedCount:
    """How many rejected events there are, looked at now and then by one process of a server."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self.events = 0
        """COUNTED_MAX means that or more. 0 in a process that does not look."""

    async def run(self) -> None:
        """Look for ever; while Postgres is away the number stays as it is."""
        while True:
            with suppress(Unavailable):
                async with self._postgres.session() as connection:
                    self.events = int(await connection.fetchval(_COUNT, COUNTED_MAX))
            await asyncio.sleep(_COUNT_INTERVAL_S)


async def count(connection: Connection) -> int:
    """Return how many rejected events there are."""
    return int(await connection.fetchval("SELECT count(*) FROM rejected_events"))


async def list_all(connection: Connection, table: Table, limit: int) -> list[Listed]:
    """Return `limit` rejected events at most, the last rejected first."""
    named = ", ".join(f"kept.{column.name}" for column in table.columns)
    rows = await connection.fetch(
        f"SELECT {named}, sqlstate, message, {NAMED_LIST}, rejected_at,"  # noqa: S608
        " coalesce(apps.name, '-') AS app"
        " FROM rejected_events AS kept LEFT JOIN apps ON apps.id = app_id"
        " ORDER BY rejected_at DESC, app_id, kept.id LIMIT $1",
        limit,
    )
    return [listed(table, row) for row in rows]


def listed(table: Table, row: asyncpg.Record) -> Listed:
    """Return what a row has that was selected so: the columns of an event, and all behind them."""
    event = {column.name: _as_text(row[column.name]) for column in table.columns}
    named = Named(*(row[name] for name in _NAMED))
    rejected = Rejected(event, row["sqlstate"], row["message"], named)
    return Listed(rejected, row["app"], row["rejected_at"])


def _as_text(value: object) -> object:
    """Return a column's value as JSON can hold it."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


async def drop(
    connection: Connection, ids: Sequence[UUID] | None, *, app_id: int | None = None
) -> list[UUID]:
    """Drop rejected events, all of them for None; return the ids of those that were there.

    With an `app_id` those of that app alone: an id may be of two.
    """
    rows = await connection.fetch(
        f"DELETE FROM rejected_events WHERE {_CHOSEN} RETURNING id",  # noqa: S608
        ids,
        app_id,
    )
    return [row["id"] for row in rows]


async def retry(
    connection: Connection,
    table: Table,
    ids: Sequence[UUID] | None,
    *,
    app_id: int | None = None,
) -> AsyncIterator[Retried]:
    """Store rejected events, all of them for None, and yield what became of each.

    Each is a transaction of its own: one that is refused again stays, with the new reason, and
    blocks nothing. An id of two apps is two events; with an `app_id` that app's alone is tried.
    Raises what is nobody's fault, such as a lost connection; what was yielded before it is
    committed.
    """
    rows = await connection.fetch(
        f"SELECT app_id, id FROM rejected_events WHERE {_CHOSEN} ORDER BY app_id, id",  # noqa: S608
        ids,
        app_id,
    )
    for missing in set(ids or ()) - {row["id"] for row in rows}:
        yield Retried(missing, RetryResult.NOT_FOUND)
    for row in rows:
        yield await _retry_one(connection, table, row["app_id"], row["id"])


async def _retry_one(connection: Connection, table: Table, app_id: int, event_id: UUID) -> Retried:
    try:
        async with connection.transaction(isolation="read_committed"):
            return Retried(event_id, await _move(connection, table, (app_id, event_id)))
    except RowRefused as refusal:
        refused = refusal
    except asyncpg.PostgresError as error:
        # The key's own conflict is no error here: a unique violation is another index's, a refusal.
        failure = while_sending(error, rows=1)
        is_its_own = isinstance(failure, RowRefused) and (
            not failure.is_doubtful or failure.sqlstate == CHECK_VIOLATION
        )
        if not (is_its_own or isinstance(failure, AlreadyStored)):
            raise
        refused = of_row(error)
    await connection.execute(
        "UPDATE rejected_events SET sqlstate = $3, message = $4, (on_table, on_column,"
        " broken_constraint) = ($5, $6, $7) WHERE app_id = $1 AND id = $2",
        app_id,
        event_id,
        refused.sqlstate,
        _bounded(refused.message),
        *refused.named,
    )
    return Retried(event_id, RetryResult.REFUSED, f"{refused.sqlstate} {refused.message}")


async def _move(connection: Connection, table: Table, key: tuple[int, UUID]) -> RetryResult:
    """Move an event into `events`, within a transaction; raise what Postgres says of it."""
    params = await connection.fetchval(
        "SELECT event_params FROM rejected_events WHERE app_id = $1 AND id = $2 FOR UPDATE", *key
    )
    if params is None:  # somebody else was faster
        return RetryResult.NOT_FOUND
    if await connection.fetchval("SELECT jsonb_typeof($1::text::jsonb)", params) != "object":
        raise RowRefused(None, *_NO_OBJECT)
    result = await _store(connection, table, key)
    await connection.execute("DELETE FROM rejected_events WHERE app_id = $1 AND id = $2", *key)
    return result


async def _store(connection: Connection, table: Table, key: tuple[int, UUID]) -> RetryResult:
    """Store an event as the merge does: that knows what was stored under its id, and its key."""
    await connection.execute(merge.stage(table))
    values = ", ".join(f'"{column.name}"::{column.sql_type}' for column in table.columns)
    await connection.execute(
        f"INSERT INTO {merge.STAGING} ({table.column_list}) SELECT {values}"  # noqa: S608
        " FROM rejected_events WHERE app_id = $1 AND id = $2",
        *key,
    )
    await connection.execute(merge.RESERVE_BY_APP)
    if await connection.fetch(merge.insert_counted(table)):
        return RetryResult.STORED
    staged = await connection.fetchrow(f"SELECT app_id, id FROM {merge.STAGING}")  # noqa: S608
    if staged is None or not await connection.fetchval(_IS_STORED, *staged):
        raise RowRefused(None, NO_DATA, DROPPED)
    return RetryResult.ALREADY_STORED
