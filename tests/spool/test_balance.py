"""What has come into a spool and what has left it: never more has left, whatever failed meanwhile.

A process that is killed leaves the difference to others; it is told of, and can't be below zero.
"""

import asyncio
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ingest.spool import Spool, SpoolFailed
from ingest.spool.failures import StorageFailed
from ingest.spool.sqlite import SqliteStorage, database
from ingest.spool.sqlite.database import PAGE_BYTES
from ingest.spool.sqlite.file import SqliteFile
from ingest.spool.sqlite.wal import FRAME_HEAD_BYTES, HEADER_BYTES
from ingest.spool.storage import Entry, PlacedKey
from tests.spool.spooling import databases, make_batch, open_spool
from tests.spool.test_wal import FRAME_BYTES, wal_of
from tests.store.events import until

EVENTS = 3
"""In each batch."""


class FailingFile(SqliteFile):
    """Fails behind what it has done, as often as it is told to."""

    failures: Counter[str]

    def append(self, blob: bytes, events: int, dedup_keys: Sequence[PlacedKey] = ()) -> Entry:
        """Store a batch, and say that it failed."""
        entry = super().append(blob, events, dedup_keys)
        self._fail("append")
        return entry

    @property
    def is_in_place(self) -> bool:
        """Whether it is, if that can be found out."""
        self._fail("is_in_place")
        return super().is_in_place

    def _fail(self, what: str) -> None:
        if self.failures[what]:
            self.failures[what] -= 1
            raise StorageFailed("the disk did it, and said that it did not")


class FailingStorage(SqliteStorage):
    """Makes such files."""

    def __init__(self) -> None:
        self.failures = Counter[str]()

    def create(self, path: Path) -> SqliteFile:
        """Make one."""
        file = FailingFile(path, database.create(path))
        file.failures = self.failures
        return file


async def replay(spool: Spool) -> int:
    """Take out all there is, batch by batch; return how many events that were."""
    gone = 0
    while batches := await spool.oldest(1):
        await spool.remove(batches)
        gone += sum(len(batch.rows) for batch in batches)
    return gone


async def come_and_gone(directory: Path) -> tuple[int, int]:
    """Drain a directory; return how many events came, and how many left."""
    gone = 0
    async with open_spool(directory) as spool:
        while batches := await spool.oldest(40):
            await spool.remove(batches)
            gone += sum(len(batch.rows) for batch in batches)
            assert spool.recovered_events >= gone + spool.newly_damaged_events
        assert spool.is_empty
        return spool.recovered_events, gone + spool.newly_damaged_events


def blank(path: Path, at: int) -> None:
    """Have one page of a log be empty, and its frame's sum not."""
    with path.open("r+b") as file:
        file.seek(at + FRAME_HEAD_BYTES)
        file.write(bytes(PAGE_BYTES))


@pytest.mark.parametrize("failing", ["append", "is_in_place"])
async def test_batch_that_is_there_though_its_append_failed_is_recovered(
    tmp_path: Path, failing: str
) -> None:
    """Its sender was told that it may be stored; when it leaves it had come."""
    storage = FailingStorage()
    spool = Spool(tmp_path / "spool", storage, bytes_max=1 << 24, free_bytes_min=0, timeout_s=20)
    await spool.open()
    await spool.append(make_batch(1))
    storage.failures[failing] = 1
    with pytest.raises(SpoolFailed) as failure:
        await spool.append(make_batch(2))
    assert failure.value.stored is None
    await spool.append(make_batch(3))
    assert await replay(spool) == 3 * EVENTS
    assert spool.recovered_events - spool.newly_damaged_events == EVENTS
    assert spool.is_empty
    await spool.close()


async def test_file_that_the_disk_damaged_gives_no_more_than_it_is_counted_to_hold(
    tmp_path: Path,
) -> None:
    """Its index and its table are on different pages, and need not agree any more."""
    image = tmp_path / "image"
    async with open_spool(tmp_path / "spool") as spool:
        for number in range(1, 21):
            await spool.append(make_batch(number, 2 * number))
            if not number % 7:
                await spool.remove(await spool.oldest(1))
        await asyncio.to_thread(shutil.copytree, tmp_path / "spool", image)
    log = wal_of(image).relative_to(image)
    pages = range(HEADER_BYTES, (image / log).stat().st_size, FRAME_BYTES)
    for at in pages:
        damaged = tmp_path / f"damaged-{at}"
        await asyncio.to_thread(shutil.copytree, image, damaged)
        await asyncio.to_thread(blank, damaged / log, at)
        come, gone = await come_and_gone(damaged)
        assert come == gone
    assert len(pages) > 40


async def test_removal_that_succeeds_when_nobody_waits_any_more_is_noted(tmp_path: Path) -> None:
    """Its batch does not come again, so it would be missing in the books for ever."""
    gone: list[int] = []
    async with open_spool(tmp_path / "spool", timeout_s=0.3) as spool:
        await spool.append(make_batch(1))
        batches = await spool.oldest(1)
        with closing(sqlite3.connect(databases(tmp_path / "spool")[0])) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(SpoolFailed):
                await spool.remove(batches, lambda: gone.append(EVENTS))
            assert not gone
            other.execute("ROLLBACK")
        await until(lambda: bool(gone))
        await asyncio.sleep(0)
        assert gone == [EVENTS]
        assert await replay(spool) == 0
