"""How events are deleted, with what their idempotency keys stand for: as SQL, whoever sends it."""

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

EVENTS_MAX: Final = 5_000
"""So many are deleted by one statement."""

_USES: Final = (
    "(SELECT kept.event_id, kept.created_at UNION ALL SELECT * FROM unnest(kept.earlier)) AS used"
)


def deleting(app_id: int, ids: Sequence[UUID]) -> list[str]:
    """Return the statements that take events out, and what their idempotency keys stand for.

    Of those what the second and the last do counts: keys, and events. For a transaction. Keys are
    locked first, as whoever stores an event by its key does it.
    """
    listed = array_of(ids)
    keys = f"SELECT idempotency_key FROM events WHERE {among(app_id, listed)}"  # noqa: S608 - ids
    delete = f"DELETE FROM events WHERE {among(app_id, listed)}"  # noqa: S608 - ids
    return [*of_keys(app_id, listed, keys), delete]


def array_of(ids: Iterable[UUID]) -> str:
    """Return ids as SQL."""
    return f"'{{{','.join(map(str, ids))}}}'::uuid[]"


def among(app_id: int, listed: str) -> str:
    """Return the condition of a row with one of these ids of an app."""
    return f"app_id = {int(app_id)} AND id = ANY ({listed})"


def of_keys(app_id: int, listed: str, keys: str) -> list[str]:
    """Return the statements by which keys stand for none of these events any more."""
    of_app = f"kept.app_id = {int(app_id)}"
    of_them = f"{of_app} AND kept.key IN ({keys} AND idempotency_key IS NOT NULL)"
    left = f"FROM {_USES} WHERE used.event_id <> ALL ({listed})"
    gone = f"FROM {_USES} WHERE used.event_id = ANY ({listed})"
    ordered = "ORDER BY used.created_at DESC"
    kept = "FROM idempotency_keys AS kept"
    lock = f"SELECT 1 {kept} WHERE {of_them} ORDER BY key FOR UPDATE"
    delete = (
        f"DELETE FROM idempotency_keys AS kept WHERE {of_them}"  # noqa: S608 - ids
        f" AND NOT EXISTS (SELECT {left})"
    )
    change = (
        "UPDATE idempotency_keys AS kept SET (event_id, created_at, earlier) = ("  # noqa: S608
        f"SELECT (array_agg(used.event_id {ordered}))[1], max(used.created_at),"
        # No slice of an array: of one in such a place Citus 13 dies.
        f" ARRAY(SELECT ROW(used.event_id, used.created_at)::key_use {left} {ordered} OFFSET 1)"
        f" {left})"
        f" WHERE {of_them} AND EXISTS (SELECT {gone})"
    )
    return [f"SELECT count(*) FROM ({lock}) AS locked", delete, change]  # noqa: S608 - ids
