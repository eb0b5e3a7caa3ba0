"""What Postgres has of somebody, as whoever asks for a copy of it is given it: all of each row."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from ingest.store.erasing import Whose
from ingest.store.postgres import Connection

_PAGE: Final = 1_000
_TIME: Final = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS {}"
_SAID: Final = _TIME.format("to_timestamp(at_us / 1e6)", "at")
_KINDS: Final = ("sign_in", "alias", "merge")

_COLUMNS: Final = ", ".join(
    (
        "id::text AS id",
        "event_name",
        "event_params::text AS event_params",
        _TIME.format("created_at", "created_at"),
        _TIME.format('"timestamp"', '"timestamp"'),
        "idempotency_key::text AS idempotency_key",
    )
)

Row = dict[str, Any]
"""Texts by the names of columns; None for NULL."""


async def events(connection: Connection, app_id: int, ids: Sequence[UUID]) -> list[Row]:
    """Return events by their ids, in the order of these, as far as they are there."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM events AS kept"  # noqa: S608 - ours
        " WHERE app_id = $1 AND kept.id = ANY ($2) ORDER BY kept.id",
        app_id,
        ids,
    )
    return [dict(row) for row in rows]


async def rejected_event(connection: Connection, app_id: int, event_id: UUID) -> Row | None:
    """Return a rejected event, with what was said of it; None if it is gone."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS}, sqlstate, message FROM rejected_events AS kept"  # noqa: S608 - ours
        " WHERE app_id = $1 AND kept.id = $2",
        app_id,
        event_id,
    )
    return None if row is None else dict(row)


async def links(connection: Connection, whose: Whose, after: int) -> tuple[list[Row], int]:
    """Return some of the links that name one of their ids, and behind which there may be more.

    Those behind a number, 0 for all.
    """
    rows = await connection.fetch(
        "SELECT number, joined, person, kind,"  # noqa: S608 - ours
        f" {_SAID} FROM person_links"
        " WHERE app_id = $1 AND (joined = ANY ($2) OR person = ANY ($2)) AND number > $3"
        " ORDER BY number LIMIT $4",
        whose.app_id,
        whose.ids,
        after,
        _PAGE,
    )
    found = [
        {"joined": each["joined"], "person": each["person"], "at": each["at"]}
        | {"link": _KINDS[each["kind"]]}
        for each in rows
    ]
    return found, rows[-1]["number"] if rows else after
