"""One event by its id, to the last digit as it was sent: the archive's numbers are doubles."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from ingest.store import person
from ingest.store.postgres import Connection

_PRINTED_BYTES_MAX: Final = 4 << 20
"""jsonb prints a number with all its digits, so that one megabyte may be many."""

_FIND: Final = f"""
SELECT id, coalesce("timestamp", created_at), created_at, event_name,
    {person.of_row("$3::text")}, printed.params
FROM events CROSS JOIN LATERAL (SELECT event_params::text AS params OFFSET 0) AS printed
WHERE app_id = $1 AND id = $2 AND octet_length(printed.params) <= $4
    AND isfinite(created_at) AND isfinite(coalesce("timestamp", created_at))
"""  # noqa: S608 - ours


class StoredEvent(NamedTuple):
    """A row of `events`, as people ask for it."""

    id: UUID
    at: datetime
    """When it happened, as its client says, or else when it was received."""
    created_at: datetime
    name: str
    person: str | None
    params: str
    """A JSON object."""


async def find(
    connection: Connection, app_id: int, event_id: UUID, user_field: str
) -> StoredEvent | None:
    """Return an app's event; None if there is none, or none that may be printed."""
    row = await connection.fetchrow(_FIND, app_id, event_id, user_field, _PRINTED_BYTES_MAX)
    return StoredEvent(*row) if row else None
