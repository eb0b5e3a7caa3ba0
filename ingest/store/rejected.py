"""Rejected events: what was acknowledged, and refused by Postgres when nobody waited any more.

Nothing is lost here: a row leaves the table only together with its event's arrival in `events`, in
one transaction, or because somebody said to drop it.
"""

import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from ingest.store.failures import AlreadyStored, RowRefused, Unavailable, while_sending
from ingest.store.postgres import Connection

MESSAGE_CHARS_MAX: Final = 1_000
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_NO_OBJECT: Final = ("22023", "event_params must be a JSON object")  # invalid parameter value
_DROPPED: Final = ("02000", "events did not take it: a trigger dropped the row")  # no data


class Rejected(NamedTuple):
    """An event as text, and what Postgres said of it."""

    app_id: int
    id: UUID
    event_name: str
    event_params: str
    """Meant to be a JSON object; it need not be even JSON."""
    created_at: datetime
    timestamp: datetime | None
    idempotency_key: UUID | None
    sqlstate: str
    message: str


class Listed(NamedTuple):
    """A rejected event with what only the table knows."""

    event: Rejected
    app: str
    """The app's name; `-` for one that is not there."""
    rejected_at: datetime


class Outcome(Enum):
    """What became of a rejected event that was tried again; the values are for people."""

    STORED = "stored"
    ALREADY_STORED = "already stored"
    """`events` has its id: it is left as it is, and the rejected one is gone."""
    REFUSED = "refused again"
    NOT_FOUND = "not found"


class Retried(NamedTuple):
    """One event that was tried again."""

    id: UUID
    outcome: Outcome
    reason: str = ""
    """Of a refusal: SQLSTATE and message."""


async def add(connection: Connection, events: Sequence[Rejected]) -> None:
    """Keep events that Postgres refused; those that are kept already stay as they are.

    Text that no Postgres holds (U+0000, lone surrogates) is kept as its JSON escape, and a message
    is cut to MESSAGE_CHARS_MAX, so that this can't be refused as well. All or none are added.
    """
    # In order of the key: two that add the same ones in opposite orders would deadlock.
    ordered = sorted(map(_storable, events), key=lambda event: (event.app_id, event.id))
    await connection.executemany(
        "INSERT INTO rejected_events"
        " (app_id, id, event_name, event_params, created_at, timestamp, idempotency_key, sqlstate,"
        " message) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (app_id, id) DO NOTHING",
        ordered,
    )


def _storable(event: Rejected) -> Rejected:
    return event._replace(
        event_name=_escaped(event.event_name),
        event_params=_escaped(event.event_params),
        message=_bounded(event.message),
    )


def _escaped(text: str) -> str:
    return _UNSTORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _bounded(message: str) -> str:
    return _escaped(message[:MESSAGE_CHARS_MAX])[:MESSAGE_CHARS_MAX]


async def count(connection: Connection) -> int:
    """Return how many rejected events there are."""
    return int(await connection.fetchval("SELECT count(*) FROM rejected_events"))


async def list_all(connection: Connection, limit: int) -> list[Listed]:
    """Return `limit` rejected events at most, the last rejected first."""
    rows = await connection.fetch(
        "SELECT app_id, rejected_events.id, event_name, event_params, rejected_events.created_at,"
        " timestamp, idempotency_key, sqlstate, message, coalesce(apps.name, '-') AS app,"
        " rejected_at FROM rejected_events LEFT JOIN apps ON apps.id = app_id"
        " ORDER BY rejected_at DESC, app_id, rejected_events.id LIMIT $1",
        limit,
    )
    return [Listed(Rejected(*tuple(row)[:-2]), row["app"], row["rejected_at"]) for row in rows]


async def drop(connection: Connection, ids: Sequence[UUID] | None) -> list[UUID]:
    """Drop rejected events, all of them for None; return the ids of those that were there."""
    rows = await connection.fetch(
        "DELETE FROM rejected_events WHERE $1::uuid[] IS NULL OR id = ANY($1) RETURNING id", ids
    )
    return [row["id"] for row in rows]


async def retry(connection: Connection, ids: Sequence[UUID] | None) -> AsyncIterator[Retried]:
    """Store rejected events, all of them for None, and yield what became of each.

    Each is a transaction of its own: one that is refused again stays, with the new reason, and
    blocks nothing. An id of two apps is two events. Raises what is nobody's fault, such as a lost
    connection; what was yielded before it is committed.
    """
    rows = await connection.fetch(
        "SELECT app_id, id FROM rejected_events WHERE $1::uuid[] IS NULL OR id = ANY($1)"
        " ORDER BY app_id, id",
        ids,
    )
    for missing in set(ids or ()) - {row["id"] for row in rows}:
        yield Retried(missing, Outcome.NOT_FOUND)
    for row in rows:
        yield await _retry_one(connection, row["app_id"], row["id"])


async def _retry_one(connection: Connection, app_id: int, event_id: UUID) -> Retried:
    try:
        async with connection.transaction():
            return Retried(event_id, await _move(connection, app_id, event_id))
    except RowRefused as refused:
        sqlstate, message = refused.sqlstate, refused.message
    except asyncpg.PostgresError as error:
        if not _is_refusal(while_sending(error)):
            raise
        sqlstate = error.sqlstate or ""
        message = " ".join(part for part in (error.message, error.detail) if part)
    await connection.execute(
        "UPDATE rejected_events SET sqlstate = $3, message = $4 WHERE app_id = $1 AND id = $2",
        app_id,
        event_id,
        sqlstate,
        _bounded(message),
    )
    return Retried(event_id, Outcome.REFUSED, f"{sqlstate} {message}")


def _is_refusal(failure: RowRefused | Unavailable) -> bool:
    # The key's own conflict is no error here: a unique violation is another index's, a refusal.
    return isinstance(failure, RowRefused | AlreadyStored) or failure.is_refusal


async def _move(connection: Connection, app_id: int, event_id: UUID) -> Outcome:
    """Move an event into `events`, within a transaction; raise what Postgres says of it."""
    key = (app_id, event_id)
    row = await connection.fetchrow(
        "SELECT event_name, event_params, created_at, timestamp, idempotency_key"
        " FROM rejected_events"
        " WHERE app_id = $1 AND id = $2 FOR UPDATE",
        *key,
    )
    if row is None:  # somebody else was faster
        return Outcome.NOT_FOUND
    outcome = await _store(connection, key, row)
    await connection.execute("DELETE FROM rejected_events WHERE app_id = $1 AND id = $2", *key)
    return outcome


async def _store(connection: Connection, key: tuple[int, UUID], row: asyncpg.Record) -> Outcome:
    params = row["event_params"]
    if await connection.fetchval("SELECT jsonb_typeof($1::text::jsonb)", params) != "object":
        raise RowRefused(None, *_NO_OBJECT)
    done = await connection.execute(
        "INSERT INTO events"
        " (app_id, id, event_name, event_params, created_at, timestamp, idempotency_key)"
        " VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7) ON CONFLICT (app_id, id) DO NOTHING",
        *key,
        row["event_name"],
        params,
        row["created_at"],
        row["timestamp"],
        row["idempotency_key"],
    )
    if done == "INSERT 0 1":
        return Outcome.STORED
    is_there = "SELECT EXISTS (SELECT FROM events WHERE app_id = $1 AND id = $2)"
    if not await connection.fetchval(is_there, *key):
        raise RowRefused(None, *_DROPPED)
    return Outcome.ALREADY_STORED
