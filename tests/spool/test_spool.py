"""The spool: what was appended is there, once and in order, until it is removed."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ingest.errors import StartupError
from ingest.spool import Spool, SpoolFailed, SpoolFull
from ingest.spool import directory as spool_directory
from ingest.spool.held import OPEN_FILES_MAX
from tests.spool.spooling import (
    MIB,
    NO_FLOOR,
    appending_process,
    databases,
    drain,
    file_size_limit,
    fill,
    fill_disk,
    make_batch,
    make_large_batch,
    modes_in,
    mounted,
    names_in,
    open_spool,
    peek,
    used_bytes,
    written_at,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A spool directory that does not exist yet."""
    return tmp_path / "data" / "spool"


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask for the time of the test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def has_room(spool: Spool) -> bool:
    """Return whether it has, now: to a type checker a property that was seen stays as it was."""
    return spool.has_room


async def test_batches_come_back_in_order_and_byte_for_byte(directory: Path) -> None:
    """Until they are removed, and not after that."""
    async with open_spool(directory) as spool:
        batches = [make_batch(n, events=1 + n) for n in range(20)]
        for batch in batches:
            await spool.append(batch)
        assert spool.events == sum(map(len, batches))
        found = await spool.oldest(10_000)
        assert [batch.rows for batch in found] == batches
        await spool.remove(found[:7])
        assert [batch.rows for batch in await spool.oldest(10_000)] == batches[7:]
        await spool.remove(found)
        assert await spool.oldest(10_000) == []
        assert (spool.is_empty, spool.events, spool.oldest_s) == (True, 0, 0.0)


async def test_oldest_keeps_to_its_bounds(directory: Path) -> None:
    """In events and in bytes, but for a single batch that is larger than both."""
    async with open_spool(directory) as spool:
        for n in range(10):
            await spool.append(make_batch(n, events=3))
        size = len(b"".join(make_batch(0, events=3)))
        found = [len(await spool.oldest(events)) for events in (1, 3, 5, 6, 29, 30, 100)]
        assert found == [1, 1, 1, 2, 9, 10, 10]
        assert [len(await spool.oldest(100, bytes_max=size * n + 1)) for n in range(4)] == [
            1,
            1,
            2,
            3,
        ]


async def test_reopened_spool_has_what_was_not_removed(directory: Path) -> None:
    """And tells of it before anything is read."""
    async with open_spool(directory) as spool:
        for n in range(6):
            await spool.append(make_batch(n))
        await spool.remove(await spool.oldest(6))
    async with open_spool(directory) as spool:
        assert (spool.events, spool.is_empty) == (12, False)
        assert 0 < spool.oldest_s < 60
        assert await drain(spool) == [2, 3, 4, 5]


async def test_empty_batch_leaves_no_trace(directory: Path) -> None:
    """There is nothing to keep."""
    async with open_spool(directory) as spool:
        await spool.append([])
        assert await spool.oldest(10) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], indirect=True)
async def test_only_the_owner_may_read_the_spool(directory: Path, umask: int) -> None:
    """Directory and files, SQLite's too, whatever the umask is."""
    assert umask in {0o000, 0o022, 0o777}
    directory.parent.mkdir(mode=0o755)
    async with open_spool(directory) as spool:
        await spool.append(make_batch(1))
        assert modes_in(directory) == {
            "": 0o700,
            "db": 0o600,
            "db-wal": 0o600,
            "db-shm": 0o600,
            "db.lock": 0o600,
        }


@pytest.mark.parametrize("blocker", ["data", "data/spool"])
async def test_file_in_the_way_of_the_directory_stops_the_start(
    tmp_path: Path, directory: Path, blocker: str
) -> None:
    """With one line that says how to mend it."""
    (tmp_path / blocker).parent.mkdir(exist_ok=True)
    (tmp_path / blocker).touch()
    with pytest.raises(StartupError, match=r"can't use the spool .*: .*; set spool\.path to a"):
        async with open_spool(directory):
            pass


async def test_read_only_directory_stops_the_start(tmp_path: Path) -> None:
    """Rather than the first append in the first outage."""
    with (
        mounted(tmp_path / "disk", "size=2m,ro") as disk,
        pytest.raises(StartupError, match=r"Read-only file system; set spool\.path"),
    ):
        async with open_spool(disk):
            pass


async def test_cap_is_kept_on_the_disk_and_a_drain_gives_room_back(directory: Path) -> None:
    """All files count, at every moment; nothing that was refused is stored."""
    cap = 12 * MIB
    async with open_spool(directory, bytes_max=cap) as spool:
        stored = await fill(spool, cap)
        assert len(stored) > 75
        assert not has_room(spool)
        assert used_bytes(directory) == spool.bytes <= cap
        assert await drain(spool) == stored
        assert has_room(spool)
        assert names_in(directory) == []
        await spool.append(make_large_batch(0))


async def test_drain_gives_space_back_in_steps(directory: Path) -> None:
    """While there is always something left to drain."""
    async with open_spool(directory, bytes_max=16 * MIB) as spool:
        for n in range(100):
            await spool.append(make_large_batch(n))
        full_bytes = spool.bytes
        for _ in range(50):
            await spool.remove(await spool.oldest(1))
        assert spool.events == 100
        assert spool.bytes < full_bytes * 0.75


async def test_floor_of_free_space_is_kept(directory: Path) -> None:
    """It may be higher than what is free; then the server still starts."""
    async with open_spool(directory, free_bytes_min=1 << 60) as spool:
        assert not has_room(spool)
        with pytest.raises(SpoolFull):
            await spool.append(make_batch(1))
        assert (spool.events, names_in(directory)) == (0, [])


async def test_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """Even with no byte left everything comes out, and then there is room again."""
    with mounted(tmp_path / "disk", "size=3m") as disk:
        async with open_spool(disk / "spool", free_bytes_min=NO_FLOOR) as spool:
            stored = await fill(spool)
            assert not has_room(spool)
            fill_disk(disk)
            for _ in range(3):
                with pytest.raises(SpoolFull):
                    await spool.append(make_batch(1))
            assert stored
            assert await drain(spool) == stored
            await spool.append(make_batch(1))
            assert has_room(spool)


async def test_write_error_costs_nothing_that_was_appended(directory: Path) -> None:
    """The failed file is read on, never written; the next append begins another one."""
    async with open_spool(directory) as spool:
        for n in range(5):
            await spool.append(make_large_batch(n))
        (failed,) = databases(directory)
        with file_size_limit(MIB // 2), pytest.raises(SpoolFailed) as failure:
            await spool.append(make_large_batch(5, MIB))
        assert failure.value.stored is None
        assert "IOERR" in failure.value.reason
        assert not has_room(spool)
        before = written_at(failed)
        await spool.append(make_large_batch(6))
        assert has_room(spool)
        assert len(databases(directory)) == 2
        await spool.remove(await spool.oldest(4))
        assert written_at(failed) == before
        assert await drain(spool) == [2, 3, 4, 6]
        assert names_in(directory) == []


async def test_callers_do_not_wait_for_each_other_in_vain(directory: Path) -> None:
    """Appends and reads from many tasks at once."""
    async with open_spool(directory) as spool:
        await asyncio.gather(*(spool.append(make_batch(n)) for n in range(50)))
        assert sorted(await drain(spool)) == list(range(50))


@pytest.mark.parametrize("lines", [1, 4, 30, 90, 200, 333])
async def test_killed_process_loses_nothing_that_it_appended_and_keeps_nothing_it_removed(
    directory: Path, lines: int
) -> None:
    """At any moment; only the one operation that was under way may have been done or not."""
    with appending_process(directory) as process:
        process.wait_for(lines)
        process.kill()
    async with open_spool(directory) as spool:
        found = await drain(spool)
        assert spool.damaged_events == 0
    assert found == sorted(set(found))
    process.assert_kept(found)


async def test_processes_share_a_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has files of its own; what a killed one left is adopted, what a live one has is not."""
    monkeypatch.setattr(spool_directory, "LOOK_INTERVAL_S", 0.0)
    with appending_process(directory, 1_000) as one, appending_process(directory, 10**6) as two:
        one.wait_for(7)
        two.wait_for(7)
        two.pause()
        one.pause()
        async with open_spool(directory) as spool:
            await spool.append(make_batch(1))
            assert await peek(spool) == [1]
            one.kill()
            found = await drain(spool)
            one.assert_kept(set(found) - {1})
            two.kill()
            two.assert_kept(await drain(spool))
            assert names_in(directory) == []


async def test_many_files_are_drained_with_few_descriptors(tmp_path: Path) -> None:
    """As many as crashes may leave; those beyond the limit wait for their turn."""
    async with open_spool(tmp_path) as spool:
        await spool.append(make_batch(1))
    (path,) = databases(tmp_path)
    for n in range(99):
        shutil.copy(path, tmp_path / f"events-v1-{n:013d}-00000000.db")
    before = psutil.Process().num_fds()
    async with open_spool(tmp_path) as spool:
        held = psutil.Process().num_fds() - before
        assert held <= spool_directory.FILES_MAX + 3 * (OPEN_FILES_MAX + 1) + 5
        assert spool.events == 3 * spool_directory.FILES_MAX
        assert await drain(spool) == [1] * 100
        assert names_in(tmp_path) == []
