"""A file that can't be adopted is tried again, ever less often, by each process on its own."""

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.spool.notes import NoOthers
from ingest.spool.orphans import Orphans
from ingest.spool.sqlite import SqliteStorage
from ingest.spool.sqlite.file import SqliteFile
from tests.spool.spooling import databases, make_batch, open_spool


class CountingStorage(SqliteStorage):
    """Counts the files that are opened."""

    def __init__(self) -> None:
        self.opened = 0

    def open(self, path: Path) -> SqliteFile:
        """Count it."""
        self.opened += 1
        return super().open(path)


async def leave(directory: Path) -> None:
    """Leave a file with a batch."""
    async with open_spool(directory) as spool:
        await spool.append(make_batch(1))


def test_unusable_file_is_tried_ever_less_often_and_adopted_once_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read a damaged log takes its time, and every process of a server reads it."""
    asyncio.run(leave(tmp_path))
    (path,) = databases(tmp_path)
    path.rename(tmp_path / "away")
    path.mkdir()
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    storage = CountingStorage()
    orphans = Orphans(tmp_path, storage)
    with capture_logs() as logs:
        for _ in range(100):
            orphans.look((), lambda _: True)
            assert orphans.are_left
            while orphans:
                assert orphans.adopt_oldest(NoOthers()) is None
            assert orphans.are_left
            now_s += 3
    assert 10 < storage.opened < 20
    assert len(logs) == 1
    path.rmdir()
    (tmp_path / "away").rename(path)
    now_s += 30
    orphans.look((), lambda _: True)
    file = orphans.adopt_oldest(NoOthers())
    assert file is not None
    assert (file.events, orphans.are_left) == (3, False)
    file.release()
