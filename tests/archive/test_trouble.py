"""Trouble at Postgres or the disk: put off, said once, and gone on with; no wait is endless."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.archive import merging, shredding
from ingest.archive.failures import DiskTrouble, PostgresTrouble, TimedOut
from ingest.archive.manifest import File
from ingest.store.cluster import Cluster
from tests.archive.archiving import archive, ask, assert_exact, make_archiver, store, workspace_of
from tests.conftest import OWN_DATABASE
from tests.support.postgres import kill, pause, resume


def test_postgres_that_hangs_is_waited_for_no_longer_than_allowed(
    own_cluster: Cluster, path: Path
) -> None:
    """Its socket is shut; then everything goes on with the next one."""
    url = own_cluster.url(OWN_DATABASE)
    workspace = workspace_of(url, path)

    def ask_hung() -> None:
        with workspace.transaction(1.0, commits=False):
            pause(own_cluster)
            workspace.rows("SELECT 1")

    with pytest.raises(TimedOut):
        ask_hung()
    resume(own_cluster)
    assert not workspace.is_usable
    workspace.close()
    kill(own_cluster)
    with pytest.raises(PostgresTrouble):
        archive(url, path)
    own_cluster.start()
    ask(url, "INSERT INTO apps (name) VALUES ('one')")
    store(url, [{}])
    archive(url, path)
    assert_exact(url, path)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another task does."""
    while not condition():  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.01)


def test_round_that_ends_just_before_it_is_stopped_stops_nobody(url: str, path: Path) -> None:
    """A process that is told to end would end with an error."""
    workspace = workspace_of(url, path)
    workspace.close()
    workspace.cut()


async def test_trouble_is_said_once_and_healed(url: str, path: Path) -> None:
    """However often it is tried; the figures tell of it."""
    await asyncio.to_thread(path.write_text, "in the way", encoding="utf-8")
    archiver = make_archiver(url, path)
    with capture_logs() as logs:
        task = asyncio.create_task(archiver.run())
        await until(lambda: archiver.figures.failures >= 2)
        assert archiver.figures.trouble
        await asyncio.to_thread(path.unlink)
        await until(lambda: not archiver.figures.trouble)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    told = [each["event"] for each in logs]
    assert told.count("archiving is put off") == 1
    assert told.count("archiving goes on again") == 1


def test_full_disk_is_left_alone(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres may be on it as well."""
    archive(url, path)
    store(url, [{}])
    with monkeypatch.context() as patched:
        patched.setattr("ingest.archive.directory.FREE_BYTES_MIN", 1 << 60)
        with pytest.raises(DiskTrouble, match="MiB left"):
            archive(url, path)
    assert_exact(url, path)
    archive(url, path)
    assert_exact(url, path)


def test_columns_are_bounded_and_of_frequent_parameters() -> None:
    """Whatever names clients think of."""
    rare = [json.dumps({"often": n, f"rare{n}": n}) for n in range(1_000)]
    assert shredding.shape(rare) == 'STRUCT("often" BIGINT)'
    many = [json.dumps({f"key{n}": 1.5 for n in range(500)})] * 10
    assert shredding.shape(many).count("DOUBLE") == 100
    assert shredding.shape(['{"": 1, "a": [1], "b": null}'] * 10) == ""
    assert shredding.shape(['{"A": 1, "a": "x", "q\\"": true}'] * 10) == (
        'STRUCT("A" BIGINT, "q""" BOOLEAN)'
    )
    assert shredding.shape(['{"a": {"b": {"c": {"d": 1}}}}'] * 10) == ""


def file_of(name: str, rows: int, mark: int, app_id: int = 1) -> File:
    """Return a file of so many rows."""
    return File(name, app_id, rows, mark, mark, mark, 1, "", "user_id")


@pytest.mark.parametrize("rows_max", [100, 10_000, 300_000, merging.FILE_ROWS_MAX])
def test_merging_with_little_memory_ends(rows_max: int) -> None:
    """No file becomes larger than it may, and none is written again alone."""
    chance = random.Random(2)
    sizes = [chance.choice([1, 10, 90, 1_000, 9_000, 200_000]) for _ in range(500)]
    files = [file_of(f"new{n}", rows, n) for n, rows in enumerate(sizes)]
    merges = 0
    while parts := merging.choose(files, rows_max):
        merged = file_of(f"merged{merges}", sum(each.rows for each in parts), merges)
        assert len(parts) > 1
        assert merged.rows <= rows_max
        files = [each for each in files if each not in parts] + [merged]
        merges += 1
    assert 0 < merges < len(sizes)
    assert sum(each.rows for each in files) == sum(sizes)


def test_merging_ends_and_leaves_few_files() -> None:
    """Whatever sizes come; no file becomes too large, and no event is written too often."""
    chance = random.Random(1)
    files: list[File] = []
    written = total = 0
    for n in range(2_000):
        rows = chance.choice([1, 10, 1_000, 200_000])
        total += rows
        files.append(file_of(f"new{n}", rows, n))
        while parts := merging.choose(files):
            merged = file_of(f"merged{n}-{len(files)}", sum(each.rows for each in parts), n)
            written += merged.rows
            files = [each for each in files if each not in parts] + [merged]
    assert sum(each.rows for each in files) == total
    assert max(each.rows for each in files) <= merging.FILE_ROWS_MAX
    assert len(files) <= total / merging.FILE_ROWS_MAX * 2 + 4 * merging.FAN
    assert written <= 6 * total
