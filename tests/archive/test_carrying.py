"""Archives are begun in the place of others that hold what Postgres has dropped."""

import asyncio
import shutil
from pathlib import Path

import asyncpg
import pytest

from ingest.archive import carrying, state
from ingest.archive.archiver import Archiver
from ingest.archive.directory import Directory
from ingest.archive.failures import Damaged, DiskTrouble, Occupied
from ingest.store import retention
from tests.archive.archiving import (
    archive,
    ask,
    files,
    make_archiver,
    verify,
)
from tests.archive.retaining import ALL, WEEK, assert_sees, begin, expire, store
from tests.store.strays import holding


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test waits for no pause."""
    monkeypatch.setattr(retention, "_REST_S", 0.0)


def two_rounds(archiver: Archiver) -> None:
    """Archive twice: a file is compared with its checksum in each round."""
    archiver.round()
    archiver.round()


def test_archive_is_made_anew_with_what_only_it_has(url: str, path: Path) -> None:
    """Whatever Postgres holds yet of before the horizon: each event once."""
    ids = store(url, [20, 19, 18, 3], each=2)
    archive(url, path)
    ids += store(url, [40, 2])
    archive(url, path)
    expire(url, WEEK, ALL)
    ids += store(url, [30])  # late
    begin(url, path)
    assert_sees(url, path, ids)
    archive(url, path)
    assert_sees(url, path, ids)
    assert verify(url, path).alone == 7


def test_archive_is_made_anew_while_events_are_going(url: str, path: Path) -> None:
    """Some of what was archived has gone, the rest not yet."""
    ids = store(url, [20], each=10) + store(url, [1])
    archive(url, path)
    expire(url, 30, ALL)  # nothing
    ask(url, "UPDATE retention SET dropped_before = now() - interval '7 days'")
    ask(url, "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT 4)")
    begin(url, path)
    assert_sees(url, path, ids)
    archive(url, path)
    assert_sees(url, path, ids)


def test_archive_of_another_time_line_is_made_anew_with_what_only_it_has(
    url: str, path: Path
) -> None:
    """As after a fail-over: its mark says nothing, and its files say what they said."""
    ids = store(url, [20, 1])
    archive(url, path)
    expire(url, WEEK, ALL)
    ask(url, "UPDATE archive_state SET timeline = 77")
    expire(url, WEEK, ALL)
    archive(url, path)
    assert_sees(url, path, ids)


def test_archive_that_can_not_be_begun_leaves_nothing(url: str, path: Path) -> None:
    """It is tried again and again while somebody holds a lock: no copy stays of each try."""
    ids = store(url, [20, 1])
    archive(url, path)
    expire(url, WEEK, ALL)
    ask(url, "UPDATE archive_state SET timeline = 77")

    async def work() -> None:
        async with holding(url, "SELECT count(*) FROM events"):
            with pytest.raises(Occupied):
                await asyncio.to_thread(archive, url, path)

    before = files(path)
    asyncio.run(work())
    assert files(path) == before
    archive(url, path)
    assert_sees(url, path, ids)


def test_archive_whose_begin_fails_late_leaves_nothing(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a full disk, when something was carried over already."""
    store(url, [20, 1])
    archive(url, path)
    expire(url, WEEK, ALL)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = files(path)
    monkeypatch.setattr(state, "advance", fail)
    with pytest.raises(DiskTrouble):
        begin(url, path)
    assert files(path) == before


def test_files_are_not_read_again_and_again_while_one_is_lost(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes meanwhile, and each round would read all of them."""
    for age in (20, 19, 18, 1):
        store(url, [age])
        archive(url, path)
    oldest = min(files(path), key=lambda each: each.stat().st_mtime_ns)
    expire(url, WEEK, ALL)
    oldest.write_bytes(b"PAR1")
    read: list[Path] = []
    monkeypatch.setattr(carrying, "sha256", read.append)
    archiver = make_archiver(url, path)
    for _ in range(2):
        with pytest.raises(Damaged):
            archiver.round()
    assert read == []


def test_files_that_are_carried_over_keep_their_names(url: str, path: Path) -> None:
    """Or every list of names would have to count them."""
    store(url, [20], each=3)
    archive(url, path)
    store(url, [1])
    archive(url, path)
    expire(url, WEEK, ALL)
    begin(url, path)
    assert ask(url, "SELECT rows, names IS NULL FROM archive_files") == [(3, False)]


@pytest.mark.parametrize("harm", ["gone", "cut", "changed", "directory"])
def test_no_archive_is_begun_by_itself_without_the_only_copy(
    url: str, path: Path, harm: str
) -> None:
    """It waits until the file is back; only who asks for it begins one without."""
    lost = store(url, [20])
    archive(url, path)
    ids = store(url, [0])
    archive(url, path)
    expire(url, WEEK, ALL)
    ((archive_id, name),) = ask(
        url,
        "SELECT archive_id::text, name FROM archive_files CROSS JOIN archive_state"
        " ORDER BY id_min LIMIT 1",
    )
    file, away = path / archive_id / name, path.parent / "away"
    shutil.copytree(path / archive_id, away)
    match harm:
        case "gone":
            file.unlink()
        case "cut":
            file.write_bytes(b"PAR1")
        case "changed":
            whole = bytearray(file.read_bytes())
            whole[50] ^= 1
            file.write_bytes(whole)
        case _:
            shutil.rmtree(path / archive_id)
            ask(url, "UPDATE archive_state SET changed_at = now() - interval '1 hour'")
    archiver = make_archiver(url, path)
    for _ in range(2):
        with pytest.raises(Damaged, match="without-lost"):
            two_rounds(archiver)
    assert ask(url, "SELECT archive_id::text FROM archive_state") == [(archive_id,)]
    shutil.copytree(away, path / archive_id, dirs_exist_ok=True)
    archive(url, path)
    assert_sees(url, path, lost + ids)
    file.unlink()
    begin(url, path, without_lost=True)
    archive(url, path)
    assert_sees(url, path, ids)
    assert Directory(path, archive_id).database.startswith("none")


def test_files_that_are_named_by_nobody_are_carried_over_where_others_are_lost(
    url: str, path: Path
) -> None:
    """As after a restore of Postgres alone, to before some were merged: each event once."""
    ids = store(url, [20, 19])
    archive(url, path)
    ids += store(url, [18, 17])
    archive(url, path)
    ids += store(url, [1])
    archive(url, path)
    expire(url, WEEK, ALL)
    (first, second, *_) = sorted(files(path), key=lambda each: each.stat().st_mtime)
    shutil.copyfile(second, second.with_name(f"app1-{'0' * 32}.parquet"))
    first.rename(first.with_name(f"app1-{'1' * 32}.parquet"))
    first.with_name(f"app1-{'2' * 32}.parquet").write_bytes(b"PAR1")
    with pytest.raises(Damaged):
        archive(url, path)
    begin(url, path, without_lost=True)
    archive(url, path)
    assert_sees(url, path, ids)
    people = ask(url, "SELECT user_field FROM archive_files")
    assert ("",) in people


def test_no_archive_of_a_version_before_is_begun_in_the_place_of_one_with_only_copies(
    url: str, path: Path
) -> None:
    """It would unname all files."""
    store(url, [20, 1])
    archive(url, path)
    other = "UPDATE archive_state SET archive_id = gen_random_uuid()"
    expire(url, WEEK, ALL)
    with pytest.raises(asyncpg.RaiseError, match="this version"):
        ask(url, other)
