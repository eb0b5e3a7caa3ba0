"""Erasures: who is to be erased, how far that is, and what was done; a row for each.

What is meant is what was received before it was asked. When it is done the ids go, and only their
SHA-256 stay: by them what comes late is known (`archive/late.py`), and whoever knows an id can ask
what became of it.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

from ingest.store import audit_log
from ingest.store.postgres import Connection

LATE_DAYS: Final = 30
"""So long after an erasure what a spool brings of the person is erased as it comes."""
IDS_MAX: Final = 10_000
"""Who has more ids is no person."""
DESERTED_S: Final = 30.0
"""An erasure on which nobody has worked for so long is anybody's to go on with."""

ASKED: Final = "asked"
DONE: Final = "done"

_COUNTS: Final = "events, rejected, keys, links, tiles, files"
_COLUMNS: Final = (
    f"id, app_id, digests, ids, asked_by, asked_at, stage, trouble, done_at, {_COUNTS},"
    f" coalesce(worked_at > now() - interval '{DESERTED_S} seconds', false)"
)
_LEFT: Final = "done_at IS NULL"


class Erasure(NamedTuple):
    """One row."""

    id: int
    app_id: int
    digests: list[bytes]
    ids: list[str] | None
    """None when it is done."""
    asked_by: str
    asked_at: datetime
    stage: str
    trouble: str
    """Why it goes no further; empty if it does."""
    done_at: datetime | None
    events: int
    """So many were erased so far; what comes late counts as well."""
    rejected: int
    keys: int
    links: int
    tiles: int
    files: int
    """Of the archive that were made anew without them."""
    is_worked_on: bool
    """Whether somebody has worked on it of late."""

    @property
    def told(self) -> str:
        """What it did, in words; without an id."""
        return (
            f"{self.events} events, {self.rejected} rejected events, {self.keys} idempotency keys,"
            f" {self.links} links, {self.tiles} tiles; {self.files} files of the archive made anew"
        )


def digest(person: str) -> bytes:
    """Return what is kept of an id for ever."""
    return sha256(person.encode()).digest()


async def ask(connection: Connection, app_id: int, ids: Sequence[str], asked_by: str) -> Erasure:
    """Have somebody erased, who is known by these ids, and note who asked; or go on with it.

    In a transaction. Where the same ids are being erased it is that erasure which is returned.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _ASKING)
    digests = [digest(each) for each in ids]
    going_on = await connection.fetchval(
        f"SELECT id FROM erasures WHERE app_id = $1 AND {_LEFT} AND digests @> $2"  # noqa: S608
        " ORDER BY id DESC LIMIT 1",
        app_id,
        digests,
    )
    if going_on is None:
        going_on = await connection.fetchval(
            "INSERT INTO erasures (app_id, digests, ids, asked_by, asked_at)"
            " VALUES ($1, $2, $3, $4, clock_timestamp()) RETURNING id",
            app_id,
            digests,
            list(ids),
            asked_by,
        )
        told = f"{digests[0].hex()}, with {len(ids) - 1} more ids"
        await audit_log.note(connection, asked_by, app_id, "asked to erase a person", told)
    found = await find(connection, app_id, going_on)
    assert found is not None  # noqa: S101 - it was just there
    return found


_ASKING: Final = 0x6E6F_6E69_746F_0006  # "nonito", 6


async def find(connection: Connection, app_id: int, erasure_id: int) -> Erasure | None:
    """Return an erasure of an app; None if it has none of this number."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM erasures WHERE app_id = $1 AND id = $2",  # noqa: S608 - ours
        app_id,
        erasure_id,
    )
    return None if row is None else Erasure(*row)


async def of_person(connection: Connection, app_id: int, person: str) -> list[Erasure]:
    """Return those that an id was a part of, the latest first, 100 at most."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM erasures WHERE app_id = $1 AND $2 = ANY (digests)"  # noqa: S608
        " ORDER BY id DESC LIMIT 100",
        app_id,
        digest(person),
    )
    return [Erasure(*row) for row in rows]


async def take(
    connection: Connection, worker: UUID, erasure_id: int | None = None
) -> Erasure | None:
    """Take the oldest that is left, or the one that is named; return it, None for none.

    What could not be brought to its end is taken behind all others, so that it is in nobody's way.

    One is worked on at a time: none is taken while another worker is at any of them.
    """
    row = await connection.fetchrow(
        "UPDATE erasures SET worker = $1, worked_at = now(), trouble = '' WHERE id = ("  # noqa: S608
        f"SELECT id FROM erasures WHERE {_LEFT} AND ($2::bigint IS NULL OR id = $2)"
        f" AND NOT EXISTS (SELECT FROM erasures WHERE {_LEFT} AND worker <> $1"
        f" AND worked_at > now() - interval '{DESERTED_S} seconds')"
        " ORDER BY trouble <> '', CASE WHEN trouble = '' THEN id END, random()"
        f" LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}",
        worker,
        erasure_id,
    )
    return None if row is None else Erasure(*row)


async def are_left(connection: Connection) -> bool:
    """Return whether somebody is to be erased."""
    return bool(await connection.fetchval(f"SELECT EXISTS (SELECT FROM erasures WHERE {_LEFT})"))  # noqa: S608


async def of_late(connection: Connection) -> list[tuple[Erasure, str]]:
    """Return those that are done and of which something may come late, with the user fields.

    The latest ones, a thousand at most.
    """
    rows = await connection.fetch(
        f"SELECT {_COLUMNS}, user_field FROM erasures"  # noqa: S608 - ours
        " JOIN (SELECT id AS of_app, user_field FROM apps) AS apps ON of_app = app_id"
        " WHERE done_at > now() - make_interval(days => $1) ORDER BY id DESC LIMIT 1000",
        LATE_DAYS,
    )
    return [(Erasure(*each), user_field) for *each, user_field in rows]


async def go_on(connection: Connection, erasure_id: int, worker: UUID, stage: str = "") -> bool:
    """Say that it is worked on, and at what; return False if it is another's by now."""
    done = await connection.execute(
        "UPDATE erasures SET worked_at = now(), stage = coalesce(nullif($3, ''), stage)"
        " WHERE id = $1 AND worker = $2 AND done_at IS NULL",
        erasure_id,
        worker,
        stage,
    )
    return done == "UPDATE 1"


async def leave(connection: Connection, erasure_id: int, worker: UUID, trouble: str) -> None:
    """Leave it to whoever goes on with it, and say what was in the way."""
    await connection.execute(
        "UPDATE erasures SET trouble = left($3, 300), worker = NULL, worked_at = NULL"
        " WHERE id = $1 AND worker = $2",
        erasure_id,
        worker,
        trouble,
    )


async def finish(connection: Connection, app_id: int, erasure_id: int) -> Erasure | None:
    """Say that it is done, and note what it did; in a transaction. None if somebody else has."""
    done = await connection.execute(
        f"UPDATE erasures SET done_at = now(), stage = '{DONE}', trouble = '', ids = NULL"  # noqa: S608 - ours
        " WHERE id = $1 AND done_at IS NULL",
        erasure_id,
    )
    found = await find(connection, app_id, erasure_id)
    if done != "UPDATE 1" or found is None:
        return found
    told = f"{found.digests[0].hex()}: {found.told}"
    await audit_log.note(connection, found.asked_by, app_id, "erased a person", told)
    return found
