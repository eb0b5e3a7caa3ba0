"""What a disk did to the log of a process that was killed: nothing is lost in silence.

SQLite takes a broken frame for the end of its log, and all that is behind it was never there.
"""

import asyncio
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from ingest.spool.report import export, status
from ingest.spool.sqlite.database import PAGE_BYTES
from ingest.spool.sqlite.wal import FRAME_HEAD_BYTES, HEADER_BYTES, Wal
from tests.spool.spooling import (
    appending_process,
    databases,
    drain,
    make_batch,
    make_large_batch,
    names_in,
    number_of,
    open_spool,
)

BATCHES = 60
EVENTS = 2 * BATCHES
FRAME_BYTES = FRAME_HEAD_BYTES + PAGE_BYTES
SEED = 11


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as a kill leaves it: 60 batches of two events, of all sizes, in one log."""
    directory = tmp_path_factory.mktemp("wal")
    asyncio.run(leave_killed(directory / "running", directory / "killed"))
    return directory / "killed"


async def leave_killed(directory: Path, image: Path) -> None:
    """Append batches, and copy what is on the disk while the file is open."""
    async with open_spool(directory) as spool:
        for n in range(1, BATCHES + 1):
            await spool.append(make_sized_batch(n))
        shutil.copytree(directory, image)


def make_sized_batch(number: int) -> list[bytes]:
    """Return a batch of two events: some dozens fit into a page, or it takes several."""
    return make_large_batch(number, 200 if number % 3 else 20_000)


def wal_of(directory: Path) -> Path:
    """Return the log of the only file in a directory."""
    (path,) = databases(directory)
    return path.with_name(f"{path.name}-wal")


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file, counted from its beginning."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def cut(path: Path, size: int) -> None:
    """Leave so many bytes of a file."""
    with path.open("r+b") as file:
        file.truncate(size)


def forget_tally(directory: Path) -> None:
    """Leave what the version before left, or what a power cut leaves of ours."""
    for path in directory.glob("*.lock"):
        path.unlink()


async def returned(directory: Path) -> tuple[set[int], int]:
    """Drain a directory; return the numbers of its batches, and how many events are damaged.

    Nothing comes twice or as it was not appended, and what is damaged is kept.
    """
    seen: set[int] = set()
    async with open_spool(directory) as spool:
        while batches := await spool.oldest(10**9):
            for batch in batches:
                assert batch.rows == make_sized_batch(number_of(batch))
                assert number_of(batch) not in seen
                seen.add(number_of(batch))
            await spool.remove(batches)
        damaged = spool.damaged_events
        assert spool.is_empty
        assert spool.recovered_events == 2 * len(seen) + spool.newly_damaged_events
    kept = [name for name in names_in(directory) if name.endswith(".damaged")]
    assert bool(kept) == (damaged > 0)
    return seen, damaged


def bits_of(size: int) -> Iterator[int]:
    """Yield bits of the header, of the first and another frame's head, and anywhere."""
    numbers = random.Random(SEED)
    frame = HEADER_BYTES + numbers.randrange(size // FRAME_BYTES) * FRAME_BYTES
    for begin, length, count in (
        (0, HEADER_BYTES, 12),
        (HEADER_BYTES, FRAME_HEAD_BYTES, 12),
        (frame, FRAME_HEAD_BYTES, 12),
        (HEADER_BYTES, size - HEADER_BYTES, 30),
    ):
        yield from (8 * begin + numbers.randrange(8 * length) for _ in range(count))


async def test_flipped_bit_costs_little_and_that_is_counted(image: Path, tmp_path: Path) -> None:
    """Wherever it is: in the log's header, in a frame's, in a page."""
    returned_in_all = 0
    bits = list(bits_of(wal_of(image).stat().st_size))
    for bit in bits:
        directory = tmp_path / str(bit)
        shutil.copytree(image, directory, dirs_exist_ok=True)
        flip(wal_of(directory), bit)
        seen, damaged = await returned(directory)
        assert damaged == EVENTS - 2 * len(seen), f"bit {bit}"
        assert len(seen) >= BATCHES * 0.6, f"bit {bit}"
        returned_in_all += len(seen)
        shutil.rmtree(directory)
    assert returned_in_all >= len(bits) * BATCHES * 0.99


async def test_flipped_bit_is_noticed_without_a_tally(image: Path, tmp_path: Path) -> None:
    """In a file of the version before all that is behind it comes back, too."""
    directory = tmp_path / "spool"
    shutil.copytree(image, directory)
    forget_tally(directory)
    frames = wal_of(directory).stat().st_size // FRAME_BYTES
    flip(wal_of(directory), 8 * (HEADER_BYTES + frames // 2 * FRAME_BYTES + 4_000))
    with structlog.testing.capture_logs() as logs:
        seen, damaged = await returned(directory)
    assert len(seen) >= BATCHES - 1
    assert damaged == EVENTS - 2 * len(seen)
    assert "a log in the spool is damaged" in [entry["event"] for entry in logs]


@pytest.mark.parametrize("part", ["", "-wal"])
async def test_what_was_cut_off_is_counted(image: Path, tmp_path: Path, part: str) -> None:
    """From the log or from the database, to nothing at all."""
    numbers = random.Random(SEED)
    (path,) = databases(image)
    size = path.with_name(path.name + part).stat().st_size
    for left in (0, 1, HEADER_BYTES, 600, *(numbers.randrange(size) for _ in range(12))):
        directory = tmp_path / str(left)
        shutil.copytree(image, directory)
        cut(directory / (path.name + part), left)
        with structlog.testing.capture_logs() as logs:
            seen, damaged = await returned(directory)
        assert damaged == EVENTS - 2 * len(seen), f"{left} bytes"
        assert not damaged or "error" in [entry["log_level"] for entry in logs]


async def test_transaction_that_was_not_synced_is_no_damage(image: Path, tmp_path: Path) -> None:
    """A power cut leaves any part of the last one: nobody was told that it is stored."""
    frames = (await asyncio.to_thread(Wal, wal_of(image), PAGE_BYTES))._frames
    begin, end = [0, *(frame.number + 1 for frame in frames if frame.pages)][-2:]
    for frame in range(begin, end):
        for begins, size in ((0, 512), (4096, 4096), (0, FRAME_BYTES)):
            directory = tmp_path / f"{frame}-{begins}-{size}"
            shutil.copytree(image, directory)
            forget_tally(directory)
            content = bytearray(wal_of(directory).read_bytes())
            at = HEADER_BYTES + frame * FRAME_BYTES + begins
            content[at : at + size] = b"\xa5" * size
            wal_of(directory).write_bytes(content)
            assert await returned(directory) == (set(range(1, BATCHES)), 0)
            assert names_in(directory) == []


async def test_transaction_that_was_not_finished_is_no_damage(image: Path, tmp_path: Path) -> None:
    """The process was killed while it wrote."""
    content = wal_of(image).read_bytes()
    unfinished = bytearray(content[-FRAME_BYTES:])
    unfinished[4:8] = bytes(4)
    for left in (FRAME_BYTES, FRAME_BYTES - 1, FRAME_HEAD_BYTES, 5):
        directory = tmp_path / str(left)
        shutil.copytree(image, directory)
        wal_of(directory).write_bytes(content + unfinished[:left])
        assert await returned(directory) == (set(range(1, BATCHES + 1)), 0)


async def test_frames_of_an_earlier_generation_are_no_damage(tmp_path: Path) -> None:
    """They lie behind the end of a log that was begun anew, and fit their sums, too."""
    async with open_spool(tmp_path / "running") as spool:
        for n in range(1, 31):
            await spool.append(make_sized_batch(n))
        (file,) = spool._directory._files
        await spool._do(file.checkpoint)
        for n in range(31, 36):
            await spool.append(make_sized_batch(n))
        shutil.copytree(tmp_path / "running", tmp_path / "killed")
    wal = await asyncio.to_thread(Wal, wal_of(tmp_path / "killed"), PAGE_BYTES)
    size = wal_of(tmp_path / "killed").stat().st_size
    assert (wal.is_straight, wal.is_damaged, wal.lost_pages) == (True, False, 0)
    assert 0 < len(wal._frames) < size // FRAME_BYTES
    assert await returned(tmp_path / "killed") == (set(range(1, 36)), 0)


@pytest.mark.parametrize("content", [b"", b"x" * 32_768, bytes(32_768)])
async def test_shared_index_that_lies_is_not_believed(
    image: Path, tmp_path: Path, content: bytes
) -> None:
    """Nor one with a flipped bit: it is made anew."""
    directory = tmp_path / "spool"
    shutil.copytree(image, directory)
    (path,) = databases(directory)
    path.with_name(f"{path.name}-shm").write_bytes(content)
    assert await returned(directory) == (set(range(1, BATCHES + 1)), 0)


async def test_mended_file_survives_the_next_kill(image: Path, tmp_path: Path) -> None:
    """What is missing is counted once by the books, and shown by every process."""
    directory = tmp_path / "spool"
    shutil.copytree(image, directory)
    cut(wal_of(directory), wal_of(directory).stat().st_size // 2)
    async with open_spool(directory) as spool:
        batches = await spool.oldest(10)
        await spool.remove(batches)
        left = spool.events
        missing = spool.newly_damaged_events
        assert missing == EVENTS - left - sum(len(batch.rows) for batch in batches) > 0
        shutil.copytree(directory, tmp_path / "again")
    async with open_spool(tmp_path / "again") as spool:
        figures = (spool.events, spool.damaged_events, spool.newly_damaged_events)
        assert figures == (left, missing, 0)
        await drain(spool)
    (kept,) = await asyncio.to_thread(status, tmp_path / "again")
    assert (kept.name.endswith(".damaged"), kept.missing_events) == (True, missing)
    assert f"{wal_of(image).name}.damaged" in names_in(tmp_path / "again")


async def test_status_and_export_see_what_is_behind_a_broken_frame(
    image: Path, tmp_path: Path
) -> None:
    """They change nothing, count what is missing, and take nothing from the next server."""
    directory = tmp_path / "spool"
    shutil.copytree(image, directory)
    flip(wal_of(directory), 8 * (HEADER_BYTES + 4 * FRAME_BYTES))
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    (found,) = await asyncio.to_thread(status, directory)
    exported = export(directory)
    events = await asyncio.to_thread(list, exported)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert found.events == len(events) >= EVENTS - 2
    assert exported.damaged_events + exported.missing_events == EVENTS - len(events)
    seen, _ = await returned(directory)
    assert 2 * len(seen) == len(events)


async def test_status_and_export_count_what_was_cut_off(image: Path, tmp_path: Path) -> None:
    """As long as no server has told of it."""
    directory = tmp_path / "spool"
    shutil.copytree(image, directory)
    cut(wal_of(directory), wal_of(directory).stat().st_size // 2)
    for _ in range(2):
        (found,) = await asyncio.to_thread(status, directory)
        exported = export(directory)
        events = await asyncio.to_thread(list, exported)
        assert found.missing_events == exported.missing_events == EVENTS - len(events) > 0


def test_running_server_is_no_damage(tmp_path: Path) -> None:
    """It appends, removes and checkpoints as fast as it can; status and export never complain."""
    with appending_process(tmp_path) as process:
        process.wait_for(5)
        for _ in range(6):
            for file in status(tmp_path):
                assert (file.damaged_events, file.missing_events) == (0, 0)
                assert file.is_readable
            found = export(tmp_path)
            for _ in found:
                pass
            assert (found.damaged_events, found.missing_events) == (0, 0)
            assert found.unreadable_files == []
            process.wait_for(20)


def test_killed_processes_are_no_damage(tmp_path: Path) -> None:
    """Whenever it was: between an append and its tally, a tally and its removal."""
    for n in range(8):
        directory = tmp_path / str(n)
        with appending_process(directory) as process:
            process.wait_for(3 + 7 * n)
            process.kill()
            for file in status(directory):
                assert (file.damaged_events, file.missing_events) == (0, 0)

            async def check(directory: Path = directory) -> list[int]:
                async with open_spool(directory) as spool:
                    assert spool.damaged_events == 0
                    return await drain(spool)

            process.assert_kept(asyncio.run(check()))
            assert names_in(directory) == []


async def test_file_that_somebody_deleted_is_told_of(image: Path, tmp_path: Path) -> None:
    """Its lock knows how many events were in it."""
    directory = tmp_path / "spool"
    shutil.copytree(image, directory)
    (path,) = databases(directory)
    path.unlink()
    with structlog.testing.capture_logs() as logs:
        async with open_spool(directory) as spool:
            assert spool.is_empty
    (told,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert (told["file"], told["events"]) == (path.name, EVENTS)


async def test_batch_is_appended_to_what_was_mended(image: Path, tmp_path: Path) -> None:
    """The spool goes on as ever."""
    directory = tmp_path / "spool"
    shutil.copytree(image, directory)
    flip(wal_of(directory), 8 * 40)
    async with open_spool(directory) as spool:
        await spool.append(make_batch(99))
        assert 99 in await drain(spool)


async def test_batches_that_came_back_stand_for_none_that_are_gone(tmp_path: Path) -> None:
    """A log that lost its end undoes removals, too: as many events as there were are not these."""
    directory, killed = tmp_path / "spool", tmp_path / "killed"
    async with open_spool(directory) as spool:
        for number in range(1, 21):
            await spool.append(make_batch(number))
        end = wal_of(directory).stat().st_size
        await spool.remove(await spool.oldest(30))
        for number in range(21, 31):
            await spool.append(make_batch(number))
        shutil.copytree(directory, killed)
    cut(wal_of(killed), end)
    async with open_spool(killed) as spool:
        assert set(await drain(spool)) >= set(range(11, 21))
        assert spool.damaged_events == 30
    assert any(name.endswith(".damaged") for name in names_in(killed))


async def test_damage_of_unknown_size_is_remembered_over_a_restart(tmp_path: Path) -> None:
    """A straight log is no proof for a file whose log was mended before."""
    directory, killed = tmp_path / "spool", tmp_path / "killed"
    async with open_spool(directory) as spool:
        for number in range(1, 21):
            await spool.append(make_batch(number))
        shutil.copytree(directory, killed)
    forget_tally(killed)
    log = wal_of(killed)
    frames = (log.stat().st_size - HEADER_BYTES) // FRAME_BYTES
    for frame in range(frames - 6, frames - 1):
        for at in (100, 4000, 8000):
            flip(log, 8 * (HEADER_BYTES + frame * FRAME_BYTES + FRAME_HEAD_BYTES + at))
    async with open_spool(killed):
        pass
    async with open_spool(killed) as spool:
        await drain(spool)
        assert spool.damaged_events > 0
    assert any(name.endswith(".damaged") for name in names_in(killed))
