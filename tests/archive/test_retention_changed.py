"""What is kept changes: what the archive has let go, and is to keep again."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from ingest.archive import expiry, horizon
from ingest.archive.directory import Directory
from ingest.archive.failures import Overtaken
from ingest.archive.workspace import Workspace
from ingest.store import retention
from tests.archive.archiving import (
    APP,
    archive,
    ask,
    workspace_of,
)
from tests.archive.retaining import ALL, WEEK, assert_sees, expire, store, stored, troubles
from tests.store import retained
from tests.store.strays import holding


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test waits for no pause."""
    monkeypatch.setattr(retention, "_REST_S", 0.0)


def test_archive_that_keeps_less_than_postgres(url: str, path: Path) -> None:
    """What it does not keep is in no answer, though Postgres has it."""
    ids = store(url, [20, 3])
    archive(url, path)
    expire(url, ALL, WEEK)
    assert stored(url) == sorted(ids)
    assert_sees(url, path, ids[1:])
    archive(url, path)
    expire(url, ALL, ALL)
    archive(url, path)
    assert_sees(url, path, ids)


def test_what_the_archive_has_let_go_comes_back_when_it_is_to_keep_it_again(
    url: str, path: Path
) -> None:
    """Nothing goes from Postgres before it is there; until then no answer has a part of it."""
    ids = store(url, [20, 15])
    archive(url, path)
    ids += store(url, [1])
    archive(url, path)
    expire(url, ALL, WEEK)
    archive(url, path)
    expire(url, ALL, ALL)
    assert_sees(url, path, ids[2:])
    expire(url, 10, ALL)
    assert "keep again" in troubles(url)[APP]
    assert stored(url) == sorted(ids)
    archive(url, path)
    assert_sees(url, path, ids)
    expire(url, 10, ALL)
    assert stored(url) == ids[2:]
    assert_sees(url, path, ids)


def test_what_waits_in_postgres_comes_back_when_it_is_kept_again(url: str, path: Path) -> None:
    """The archive let it go at once, Postgres could not yet."""
    partition = asyncio.run(retained.make_partition(url, 30))
    try:
        ids = store(url, [30])
        archive(url, path)
        ids += store(url, [1])
        archive(url, path)

        async def wait() -> None:
            async with holding(url, "SELECT count(*) FROM events"):
                await asyncio.sleep(0.2)
                await retained.one_round(url, WEEK, has_archive=True)

        asyncio.run(wait())
        archive(url, path)
        expire(url, ALL)
        archive(url, path)
        assert stored(url) == sorted(ids)
        assert_sees(url, path, ids)
    finally:
        ask(url, f"DROP TABLE IF EXISTS {partition}")


def test_archive_is_not_made_anew_for_what_nobody_has(url: str, path: Path) -> None:
    """More is kept than before, and what has gone is gone; what a file has of it counts again."""
    ids = store(url, [20])
    archive(url, path)
    ids += store(url, [12, 1])
    archive(url, path)
    expire(url, 10)
    archive(url, path)
    before = ask(url, "SELECT archive_id FROM archive_state")
    expire(url, 30)
    archive(url, path)
    assert ask(url, "SELECT archive_id FROM archive_state") == before
    assert_sees(url, path, ids[1:])
    assert ask(url, "SELECT DISTINCT forgotten_before FROM retention") == [(None,)]


def test_nothing_is_let_go_that_is_kept_again_by_then(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The horizon moves back while files are let go: that counts for nothing."""
    ids = store(url, [20])
    archive(url, path)
    ids += store(url, [1])
    archive(url, path)
    expire(url, ALL, WEEK)
    read = horizon.read

    def read_and_move(workspace: Workspace) -> horizon.Horizons:
        found = read(workspace)
        expire(url, ALL, ALL)
        return found

    monkeypatch.setattr(horizon, "read", read_and_move)
    ((archive_id,),) = ask(url, "SELECT archive_id::text FROM archive_state")
    with closing(workspace_of(url, path)) as workspace, pytest.raises(Overtaken):
        expiry.expire(workspace, Directory(path, archive_id))
    monkeypatch.undo()
    archive(url, path)
    assert_sees(url, path, ids)
