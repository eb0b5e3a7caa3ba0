"""Who changed what in the dashboard, for those who have to know it later."""

from datetime import datetime
from typing import Final, NamedTuple

from ingest.store.postgres import Connection

_OBJECT_CHARS_MAX: Final = 300


class Entry(NamedTuple):
    """One change."""

    id: int
    at: datetime
    email: str
    """Whose it was, as the account was called then."""
    app_id: int | None
    action: str
    object: str


async def note(
    connection: Connection, email: str, app_id: int | None, action: str, changed: str
) -> None:
    """Note a change, in the transaction that makes it."""
    await connection.execute(
        "INSERT INTO audit_log (email, app_id, action, object) VALUES ($1, $2, $3, $4)",
        email,
        app_id,
        action,
        changed[:_OBJECT_CHARS_MAX],
    )


async def latest(
    connection: Connection, app_id: int | None, limit: int, before: int | None = None
) -> list[Entry]:
    """Return the latest changes of one app, or of all, those behind an entry if one is named."""
    rows = await connection.fetch(
        "SELECT id, at, email, app_id, action, object FROM audit_log"
        " WHERE ($1::int IS NULL OR app_id = $1) AND ($3::bigint IS NULL OR id < $3)"
        " ORDER BY id DESC LIMIT $2",
        app_id,
        limit,
        before,
    )
    return [Entry(*row) for row in rows]
