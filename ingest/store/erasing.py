"""What is stored of somebody besides the archive's files, found and taken out.

Whatever is taken out of `events` is taken out in one transaction with what the archive says of it,
within its lock, so that archive and tail are in every snapshot what the table is: rows of the tail
here, those of a file together with that file (`archive/erasing.py`). Whoever has begun before, and
commits behind, can't: both change the row of `archive_state`.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from ingest.store import boards, person
from ingest.store.deleting import EVENTS_MAX, among, array_of, deleting, of_keys
from ingest.store.postgres import Connection

MAY: Final = " AND ".join(
    f"coalesce(has_table_privilege(to_regclass('{table}'), '{privilege}'), false)"
    for table, privilege in (
        ("erasures", "SELECT"),
        ("erasures", "INSERT"),
        ("erasures", "UPDATE"),
        ("events", "DELETE"),
        ("idempotency_keys", "UPDATE"),
        ("idempotency_keys", "DELETE"),
        ("person_links", "DELETE"),
    )
)
"""Whether a role may erase people, as SQL."""
ARCHIVE_LOCK: Final = 0x6E6F_6E69_746F_0003  # "nonito", 3
"""Whoever changes what the archive holds has it until its transaction ends."""
SPAN_ROWS: Final = 20_000
"""So many rows are looked at by one statement."""
_PAGE: Final = 50
"""Rejected events, of which each may have a megabyte."""
_OVERTAKEN: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)
_ERASED: Final = (
    "UPDATE archive_state SET erased = erased + 1 RETURNING mark, null_before, null_done"
)


class Occupied(Exception):  # noqa: N818 - a state of the world, handled
    """Somebody else changes what the archive holds just now: to be tried again."""


class Whose(NamedTuple):
    """Whose events are meant, of one app: those with one of these ids, received before a moment."""

    app_id: int
    user_field: str
    ids: Collection[str]
    before: datetime


class Span(NamedTuple):
    """A part of an app's events."""

    after: UUID
    """Behind this id."""
    last: UUID
    """Up to this one."""


BEGINNING: Final = UUID(int=0)
"""Behind which all ids are."""


@asynccontextmanager
async def _changing(connection: Connection) -> AsyncIterator[str]:
    """Change what archive and tail hold; yield the condition of the tail's rows. Raises Occupied.

    All or nothing of it is done.
    """
    try:
        async with connection.transaction(isolation="repeatable_read"):
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", ARCHIVE_LOCK):
                raise Occupied
            found = await connection.fetchrow(_ERASED)
            yield "true" if found is None else _tail(*found)
    except _OVERTAKEN as error:
        raise Occupied from error


def _tail(mark: int, null_before: UUID | None, null_done: bool) -> str:  # noqa: FBT001 - a column
    if null_done:
        return f"xact >= {mark}"
    old = f"xact IS NULL AND id >= '{null_before}'" if null_before else "xact IS NULL"
    return f"(xact >= {mark} OR {old})"


def _is_theirs(user_field: str) -> str:
    """Return the condition of an event of theirs, of the parameters $1 to $4."""
    quoted = "'" + user_field.replace("'", "''") + "'"
    return f"app_id = $1 AND {person.of_row(quoted)} = ANY ($2) AND created_at < $3"


async def erase_tail(
    connection: Connection, erasure: int, whose: Whose, span: Span | None = None
) -> int:
    """Delete EVENTS_MAX of their events of the tail at most; return how many. Raises Occupied.

    Of a span alone, if one is given.
    """
    async with _changing(connection) as tail:
        await connection.execute("SET LOCAL enable_seqscan = off")
        within = "id > $5 AND id <= $6" if span else "true"
        rows = await connection.fetch(
            f"SELECT id FROM events WHERE {_is_theirs(whose.user_field)} AND {tail} AND {within}"  # noqa: S608
            " LIMIT $4",
            whose.app_id,
            whose.ids,
            whose.before,
            EVENTS_MAX,
            *(span or ()),
        )
        ids = [row["id"] for row in rows]
        if ids:
            done = [await connection.execute(each) for each in deleting(whose.app_id, ids)]
            await _count(connection, erasure, "events", _number(done[-1]))
            await _count(connection, erasure, "keys", _number(done[1]))
        return len(ids)


async def has_archive(connection: Connection) -> bool:
    """Return whether an archive was ever made of this database."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM archive_state WHERE system_identifier IS NOT NULL)"
        )
    )


async def next_span(connection: Connection, app_id: int, after: UUID) -> Span | None:
    """Return the next part of an app's events, of SPAN_ROWS at most; None if there is none."""
    last = await connection.fetchval(
        "SELECT id FROM (SELECT id FROM events WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3)"
        " AS first ORDER BY id DESC LIMIT 1",
        app_id,
        after,
        SPAN_ROWS,
    )
    return None if last is None else Span(after, last)


async def estimate(connection: Connection) -> int:
    """Return about how many events there are, of all apps."""
    return int(
        await connection.fetchval(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class"
            " JOIN pg_partition_tree('events') ON oid = relid WHERE isleaf"
        )
    )


async def find(connection: Connection, whose: Whose, span: Span) -> list[UUID]:
    """Return which of the events of a span are theirs: a look at each."""
    rows = await connection.fetch(
        f"SELECT id FROM events WHERE {_is_theirs(whose.user_field)} AND id > $4 AND id <= $5",  # noqa: S608
        whose.app_id,
        whose.ids,
        whose.before,
        *span,
    )
    return [row["id"] for row in rows]


class Page(NamedTuple):
    """Some rejected events of an app."""

    theirs: list[UUID]
    last: UUID | None
    """Behind which there may be more; None if there are none."""


async def rejected(connection: Connection, whose: Whose, after: UUID) -> Page:
    """Return which of the next rejected events behind an id are theirs."""
    rows = await connection.fetch(
        "SELECT id, event_params, created_at FROM rejected_events"
        " WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        whose.app_id,
        after,
        _PAGE,
    )
    theirs = [
        row["id"]
        for row in rows
        if row["created_at"] < whose.before and is_theirs(whose, row["event_params"])
    ]
    return Page(theirs, rows[-1]["id"] if rows else None)


def is_theirs(whose: Whose, params: str) -> bool:
    """Return whether parameters that are not in `events` say that they did it.

    What nobody can read does where it has one of the ids as a string.
    """
    try:
        return person.of_document(whose.user_field, params) in whose.ids
    except (ValueError, RecursionError):
        return any(f'"{each}"' in params for each in whose.ids)


async def erase_rejected(
    connection: Connection, erasure: int, whose: Whose, ids: Iterable[UUID]
) -> None:
    """Delete rejected events, and what their idempotency keys stand for. Raises Occupied."""
    listed = array_of(ids)
    which = among(whose.app_id, listed)
    keys = f"SELECT idempotency_key FROM rejected_events WHERE {which}"  # noqa: S608 - ids
    try:
        async with connection.transaction():
            done = [await connection.execute(each) for each in of_keys(whose.app_id, listed, keys)]
            gone = await connection.execute(f"DELETE FROM rejected_events WHERE {which}")  # noqa: S608
            await _count(connection, erasure, "rejected", _number(gone))
            await _count(connection, erasure, "keys", _number(done[1]))
    except _OVERTAKEN as error:
        raise Occupied from error


async def count_links(connection: Connection, whose: Whose) -> int:
    """Return how many links name one of their ids."""
    return int(
        await connection.fetchval(
            f"SELECT count(*) FROM person_links WHERE {_NAMED}",  # noqa: S608 - ours
            whose.app_id,
            whose.ids,
        )
    )


_NAMED: Final = "app_id = $1 AND (joined = ANY ($2) OR person = ANY ($2))"


async def erase_links(connection: Connection, erasure: int, whose: Whose) -> int:
    """Delete the links that name one of their ids; return how many. Raises Occupied."""
    async with _changing(connection):
        done = await connection.execute(
            f"DELETE FROM person_links WHERE {_NAMED}",  # noqa: S608 - ours
            whose.app_id,
            whose.ids,
        )
        count = _number(done)
        if count:
            await connection.execute("UPDATE archive_state SET links_erased = links_erased + 1")
            await _count(connection, erasure, "links", count)
        return count


async def erase_tiles(connection: Connection, erasure: int, tiles: Sequence[int]) -> None:
    """Delete tiles of boards, in a transaction."""
    await _count(connection, erasure, "tiles", await boards.drop_all(connection, tiles))


async def _count(connection: Connection, erasure: int, what: str, count: int) -> None:
    await connection.execute(
        f"UPDATE erasures SET {what} = {what} + $2, worked_at = now() WHERE id = $1",  # noqa: S608
        erasure,
        count,
    )


def _number(tag: str) -> int:
    """Return the number in a command's tag."""
    return int(tag.rpartition(" ")[2])
