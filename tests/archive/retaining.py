"""What the archive's tests of retention share: what is stored, goes, and is seen."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ingest.archive import founding
from ingest.archive.view import Views
from tests.archive.archiving import (
    APP,
    MEMORY_MAX,
    ask,
    seen,
    verify,
    workspace_of,
)
from tests.store import retained

WEEK = 7
ALL = 0


def store(url: str, ages: Sequence[int], each: int = 1) -> list[str]:
    """Store events of so many days ago; return their ids."""
    return [str(event_id) for event_id in asyncio.run(retained.store(url, ages, APP, each))]


def expire(url: str, days: int, archive_days: int = -1) -> None:
    """Have go from Postgres what a server with an archive has go."""
    asyncio.run(retained.one_round(url, days, archive_days, has_archive=True))


def begin(url: str, path: Path, *, without_lost: bool = False) -> None:
    """Begin an archive in the place of the one that there is."""
    with closing(workspace_of(url, path)) as workspace:
        founding.begin(workspace, path, without_lost=without_lost)


def stored(url: str) -> list[str]:
    """Return what is in Postgres."""
    return [str(row[0]) for row in ask(url, "SELECT id FROM events ORDER BY id")]


def troubles(url: str) -> dict[int, str]:
    """Return why something waits."""
    return asyncio.run(retained.troubles(url))


def assert_sees(url: str, path: Path, ids: Sequence[str]) -> None:
    """Assert that a question sees each of these once, in whatever way it counts."""
    assert sorted(seen(url, path)) == sorted(ids)
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    try:
        with views.view(app_id=APP) as view:
            known, sources = view.known.names()
            count = sum(each.events for each in known)
            for source in sources:
                sql = f"SELECT count(*) FROM {source}"
                count += int(view.connection.execute(sql).fetchall()[0][0])
    finally:
        views.rest()
    assert count == len(ids)
    found = verify(url, path)
    assert found.is_good, found
