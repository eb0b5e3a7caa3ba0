"""Retention over both: what only the archive keeps, what goes from both, and nothing twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from ingest.archive import merging
from ingest.archive.scope import Scope
from ingest.store import retention
from tests.archive.archiving import (
    APP,
    archive,
    ask,
    files,
    seen,
    tail_rows,
    verify,
)
from tests.archive.retaining import ALL, WEEK, assert_sees, expire, store, stored, troubles
from tests.store import retained


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test waits for no pause."""
    monkeypatch.setattr(retention, "_REST_S", 0.0)


def test_archive_follows_postgres(url: str, path: Path) -> None:
    """At once in all answers, archived or not; a whole file goes, of others nothing is counted."""
    store(url, [21, 20])
    archive(url, path)
    store(url, [19])
    kept = store(url, [3, 0])
    archive(url, path)
    store(url, [18])
    assert len(seen(url, path)) == 6
    expire(url, WEEK)
    assert stored(url) == sorted(kept)
    assert_sees(url, path, kept)
    archive(url, path)
    assert_sees(url, path, kept)
    ((count,),) = ask(url, "SELECT count(*) FROM archive_files")
    assert count == 1


def test_archive_keeps_all_that_postgres_drops(url: str, path: Path) -> None:
    """Seven days in Postgres, all in the archive: questions reach over both."""
    ids = store(url, [400, 20, 6, 0], each=3)
    archive(url, path)
    expire(url, WEEK, ALL)
    assert stored(url) == sorted(ids[6:])
    assert_sees(url, path, ids)
    assert verify(url, path).alone == 6
    ids += store(url, [0])
    assert tail_rows(url, path) == 1
    assert_sees(url, path, ids)


def test_event_waits_until_it_is_archived(url: str, path: Path) -> None:
    """Row by row, and a whole partition; it is said what is waited for."""
    partition = asyncio.run(retained.make_partition(url, 30))
    try:
        ids = store(url, [20])
        archive(url, path)
        ids += store(url, [30, 21, 0])
        expire(url, WEEK, ALL)
        assert "not in the archive yet" in troubles(url)[0]
        assert stored(url) == sorted(ids[1:])
        assert_sees(url, path, ids)
        archive(url, path)
        expire(url, WEEK, ALL)
        assert troubles(url) == {}
        assert stored(url) == ids[3:]
        assert_sees(url, path, ids)
    finally:
        ask(url, f"DROP TABLE IF EXISTS {partition}")


def test_event_waits_while_nobody_archives(url: str, path: Path) -> None:
    """Who knows whether the files are whole that are to be its only copy."""
    ids = store(url, [20, 0])
    archive(url, path)
    ask(url, "UPDATE archive_state SET changed_at = now() - interval '1 hour'")
    expire(url, WEEK, ALL)
    assert "nobody archives" in troubles(url)[APP]
    assert stored(url) == sorted(ids)


def test_event_that_is_sent_again_counts_once(url: str, path: Path) -> None:
    """Postgres does not know it any more, and takes it: the archive knows."""
    ids = store(url, [20])
    ask(url, "UPDATE events SET created_at = now() - interval '20 days'")
    archive(url, path)
    ids += store(url, [19, 1])
    archive(url, path)
    expire(url, WEEK, ALL)
    again = "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    ask(url, f"{again} VALUES (1, $1, 'test', '{{}}', now())", UUID(ids[0]))
    lately = Scope(start=datetime.now(UTC) - timedelta(days=2))
    assert ids[0] not in seen(url, path, scope=lately)
    assert_sees(url, path, ids)
    archive(url, path)
    assert_sees(url, path, ids)
    expire(url, WEEK, ALL)
    assert stored(url) == ids[2:]
    assert_sees(url, path, ids)


def test_file_is_written_anew_without_what_has_long_gone(url: str, path: Path) -> None:
    """For a week it is only left out."""
    kept = store(url, [20, 12, 1])
    archive(url, path)
    expire(url, 10)
    archive(url, path)
    assert_sees(url, path, kept[2:])
    (row,) = ask(url, "SELECT rows, id_min::text FROM archive_files")
    assert row == (1, kept[2])
    store(url, [9])
    kept = [kept[2]]
    archive(url, path)
    expire(url, 8)
    archive(url, path)
    assert_sees(url, path, kept)


def test_file_with_little_that_has_gone_waits_for_a_week(url: str, path: Path) -> None:
    """Nothing of it is counted meanwhile, by its own names either."""
    ids = store(url, [12, 1])
    archive(url, path)
    expire(url, 10)
    archive(url, path)
    assert ask(url, "SELECT rows FROM archive_files") == [(2,)]
    assert_sees(url, path, ids[1:])


def test_files_of_a_version_before_say_which_ids_they_have(url: str, path: Path) -> None:
    """One whose ids are not known is looked through until they are."""
    ids = store(url, [20, 19])
    archive(url, path)
    ids += store(url, [1])
    archive(url, path)
    ask(url, "UPDATE archive_files SET id_min = NULL, id_max = NULL")
    expire(url, WEEK)
    assert_sees(url, path, ids[2:])
    archive(url, path)
    assert_sees(url, path, ids[2:])
    ((least, names),) = ask(url, "SELECT id_min::text, names FROM archive_files")
    assert least == ids[2]
    assert names


def test_files_are_merged_whatever_has_gone(url: str, path: Path) -> None:
    """Before and after, what is kept is there once."""
    ids = []
    for _ in range(merging.FAN):
        ids += store(url, [12, 2])
        archive(url, path)
    expire(url, 10)
    archive(url, path)
    assert_sees(url, path, [each for each in ids if each in stored(url)])
    assert len(ask(url, "SELECT FROM archive_files")) < merging.FAN
    assert files(path)
