"""The rejected events of one app: a page of them, one in full, mended; nobody else's are touched.

A page holds no parameters, of which each event may have a megabyte. They are in the order of their
ids, by which they are found whatever their number; ids that the server makes are in that of time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from ingest.store import rejected
from ingest.store.failures import Named
from ingest.store.postgres import Connection
from ingest.store.rejected import NAMED_LIST, Listed
from ingest.store.table import Table

COUNTED_MAX: Final = 10_000
APPS_MAX: Final = 20
_PAGE: Final = (
    f"SELECT id, event_name, created_at, rejected_at, sqlstate, message, {NAMED_LIST}"  # noqa: S608
    " FROM rejected_events"
    " WHERE app_id = $1 AND ($3::uuid IS NULL OR id < $3) ORDER BY id DESC LIMIT $2"
)
_COUNT: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM rejected_events"
    " WHERE app_id = $1 AND ($3::uuid IS NULL OR id > $3) LIMIT $2) AS first"
)
_BY_APP: Final = """
SELECT first.app_id, name, count(*) AS events
FROM (SELECT app_id FROM rejected_events LIMIT $1) AS first LEFT JOIN apps ON apps.id = app_id
GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT $2
"""


class Line(NamedTuple):
    """A rejected event as a list has it."""

    id: UUID
    name: str
    created_at: datetime
    rejected_at: datetime
    sqlstate: str
    message: str
    named: Named


class OfApp(NamedTuple):
    """How many rejected events an app has."""

    app_id: int
    app: str | None
    """None for one that is gone."""
    events: int


async def page(
    connection: Connection, app_id: int, limit: int, before: UUID | None = None
) -> list[Line]:
    """Return `limit` of an app's at most, those of the highest ids first, below one if named."""
    rows = await connection.fetch(_PAGE, app_id, limit, before)
    return [_line(*row) for row in rows]


def _line(
    event_id: UUID,
    name: str,
    created_at: datetime,
    rejected_at: datetime,
    sqlstate: str,
    message: str,
    *named: str,
) -> Line:
    return Line(event_id, name, created_at, rejected_at, sqlstate, message, Named(*named))


async def count(connection: Connection, app_id: int, after: UUID | None = None) -> int:
    """Return how many an app has, above an id if one is named: COUNTED_MAX means that or more."""
    return int(await connection.fetchval(_COUNT, app_id, COUNTED_MAX, after))


async def ids(
    connection: Connection, app_id: int, limit: int, after: UUID | None = None
) -> Sequence[UUID]:
    """Return `limit` ids of an app's at most, the lowest first, above one if it is named."""
    rows = await connection.fetch(
        "SELECT id FROM rejected_events WHERE app_id = $1 AND ($3::uuid IS NULL OR id > $3)"
        " ORDER BY id LIMIT $2",
        app_id,
        limit,
        after,
    )
    return [row["id"] for row in rows]


async def by_app(connection: Connection) -> list[OfApp]:
    """Return which apps have some, APPS_MAX at most, counted among the first COUNTED_MAX."""
    return [OfApp(*row) for row in await connection.fetch(_BY_APP, COUNTED_MAX, APPS_MAX)]


async def find(connection: Connection, table: Table, app_id: int, event_id: UUID) -> Listed | None:
    """Return one of an app with all that is kept of it; None if the app has none of this id."""
    named = ", ".join(f"kept.{column.name}" for column in table.columns)
    row = await connection.fetchrow(
        f"SELECT {named}, sqlstate, message, {NAMED_LIST}, rejected_at, '' AS app"  # noqa: S608
        " FROM rejected_events AS kept WHERE app_id = $1 AND id = $2",
        app_id,
        event_id,
    )
    return rejected.listed(table, row) if row else None


async def mend(connection: Connection, app_id: int, event_id: UUID, name: str, params: str) -> bool:
    """Give one of an app another name and other parameters; return whether it is still there.

    Why it was refused stays as it is until it is tried again.
    """
    done = await connection.execute(
        "UPDATE rejected_events SET event_name = $3, event_params = $4"
        " WHERE app_id = $1 AND id = $2",
        app_id,
        event_id,
        rejected.storable(name),
        rejected.storable(params),
    )
    return done == "UPDATE 1"
