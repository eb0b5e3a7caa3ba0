"""What the archive's tests share: events that are stored, rounds of the archiver, what is seen."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from ingest.archive import verification
from ingest.archive.archiver import Archiver
from ingest.archive.scope import Scope
from ingest.archive.verification import Verified
from ingest.archive.view import Views
from ingest.archive.workspace import Bounds, Workspace, opened
from ingest.events.ids import IdSequence
from tests.support.postgres import fetch

if TYPE_CHECKING:
    import asyncpg

MEMORY_MAX: Final = 128 << 20
EVERYTHING: Final = Scope()
APP: Final = 1

_ids = IdSequence()
_INSERT: Final = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    " SELECT $1, id, $3, params::jsonb, now() FROM unnest($2::uuid[], $4::text[]) AS t (id, params)"
)


def new_id() -> UUID:
    """Return an id as the server makes them."""
    return UUID(bytes=_ids.next()[0])


def store(
    url: str, documents: Iterable[object], *, app_id: int = APP, name: str = "test"
) -> list[UUID]:
    """Store events with these parameters, as texts or to be made JSON; return their ids."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in documents]
    ids = [new_id() for _ in texts]
    asyncio.run(fetch(url, _INSERT, app_id, ids, name, texts))
    return ids


def ask(url: str, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    """Return the rows of a question to Postgres."""
    return [tuple(row) for row in asyncio.run(fetch(url, sql, *arguments))]


async def insert(connection: "asyncpg.Connection[asyncpg.Record]", ids: list[UUID]) -> None:
    """Store events without parameters on a connection, within whatever transaction it has."""
    await connection.execute(_INSERT, APP, ids, "test", ["{}"] * len(ids))


def make_archiver(url: str, path: Path) -> Archiver:
    """Return an archiver with little memory."""
    return Archiver(url, path, interval_s=0.05, memory_max=MEMORY_MAX, threads=1)


def archive(url: str, path: Path) -> None:
    """Archive what there is, in one round."""
    make_archiver(url, path).round()


def verify(url: str, path: Path) -> Verified:
    """Compare the archive with Postgres."""
    with opened(url, Bounds(MEMORY_MAX, 1, path)) as workspace:
        return verification.verify(workspace, path, lambda _: None)


def workspace_of(url: str, path: Path) -> Workspace:
    """Return a workspace, to be closed."""
    return Workspace(url, Bounds(MEMORY_MAX, 1, path))


def seen(
    url: str,
    path: Path,
    columns: str = "id::VARCHAR",
    app_id: int = APP,
    scope: Scope = EVERYTHING,
) -> list[Any]:
    """Return what a question sees of an app: a value, or a tuple of several, by event."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    try:
        with views.view(app_id=app_id, scope=scope) as view:
            rows = [
                row
                for source in view.sources
                for row in view.connection.execute(f"SELECT {columns} FROM {source}").fetchall()
            ]
    finally:
        views.rest()
    return [row[0] if len(row) == 1 else row for row in rows]


def tail_rows(url: str, path: Path) -> int:
    """Return how many of an app's events a question reads from Postgres."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    try:
        with views.view(app_id=APP) as view:
            return view.tail_rows
    finally:
        views.rest()


def assert_exact(url: str, path: Path) -> None:
    """Assert that archive and tail hold each event of Postgres once, and nothing else."""
    found = verify(url, path)
    assert found.is_good, found
    stored = Counter(str(row[0]) for row in ask(url, "SELECT id FROM events WHERE app_id = 1"))
    assert Counter(seen(url, path)) == stored


def files(path: Path) -> list[Path]:
    """Return all files of all archives."""
    return sorted(path.glob("*/*.parquet*"))
