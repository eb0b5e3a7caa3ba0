"""What a disk did to the spool: damage costs the batch that it hit, and a person gets to see it."""

import random
import shutil
from pathlib import Path

import pytest

from ingest.spool import Spool
from tests.spool.spooling import (
    databases,
    drain,
    edit,
    flip_bit,
    make_batch,
    make_large_batch,
    names_in,
    number_of,
    open_spool,
)

IMAGES = 60
BATCHES = 40
SEED = 5


async def make_file(directory: Path, batches: int = 10, size: int = 20_000) -> Path:
    """Leave one file with numbered batches of two events, from 1."""
    async with open_spool(directory) as spool:
        for n in range(1, batches + 1):
            await spool.append(make_large_batch(n, size))
    (path,) = databases(directory)
    return path


@pytest.mark.parametrize("when", ["open", "closed"])
async def test_flipped_bit_costs_one_batch(tmp_path: Path, when: str) -> None:
    """It is kept, counted and never returned; the others are."""
    directory = tmp_path / "spool"
    path = await make_file(directory)
    if when == "closed":
        flip_bit(path, 4)
    async with open_spool(directory) as spool:
        if when == "open":
            flip_bit(path, 4)
        assert await drain(spool) == [1, 2, 3, 5, 6, 7, 8, 9, 10]
        assert (spool.events, spool.damaged_events, spool.is_empty) == (0, 2, True)
        assert names_in(directory) == [f"{path.name}.damaged"]


async def test_damaged_batch_stays_quarantined_after_a_restart(tmp_path: Path) -> None:
    """And is counted again, but not looked at."""
    path = await make_file(tmp_path)
    flip_bit(path, 1)
    async with open_spool(tmp_path) as spool:
        assert number_of((await spool.oldest(1))[0]) == 2
        assert (spool.events, spool.damaged_events) == (18, 2)
    async with open_spool(tmp_path) as spool:
        assert (spool.events, spool.damaged_events) == (18, 2)
        assert await drain(spool) == list(range(2, 11))


@pytest.mark.parametrize("count", [None, -7, "two", b"\xff"])
@pytest.mark.parametrize("id_", [0, 1])
async def test_count_of_what_is_damaged_may_be_damaged_too(
    tmp_path: Path, id_: int, count: object
) -> None:
    """It hinders no start, of a quarantined batch and of what is missing (0); one event is told."""
    path = await make_file(tmp_path)
    edit(path, "DROP TABLE damaged")  # whose definition the disk may spoil as well
    edit(path, "CREATE TABLE damaged (id INTEGER PRIMARY KEY, events INTEGER, reason TEXT)")
    edit(path, "INSERT INTO damaged VALUES (?, ?, 'spoilt')", id_, count)
    async with open_spool(tmp_path) as spool:
        assert spool.damaged_events == 1
        assert await drain(spool) == list(range(1 + id_, 11))


@pytest.mark.parametrize(
    "change",
    [
        "events = 1",
        "events = 3",
        "events = -1",
        "events = 9223372036854775807",
        "events = 'two'",
        "events = 1e300",
        "events = x'ff'",
        "appended_ms = 'then', crc32 = 0",
        "crc32 = crc32 + 1",
        "crc32 = 'x'",
        "tuples = ''",
        "tuples = 7",
        "tuples = 'text'",
        "tuples = zeroblob(1000)",
    ],
)
async def test_changed_column_costs_one_batch(tmp_path: Path, change: str) -> None:
    """Whatever type it has now."""
    path = await make_file(tmp_path)
    edit(path, f"UPDATE batches SET {change} WHERE id = 2")
    async with open_spool(tmp_path) as spool:
        assert await drain(spool) == [1, 3, 4, 5, 6, 7, 8, 9, 10]
        assert spool.is_empty
        assert spool.damaged_events > 0
        await spool.append(make_batch(11))
        assert await drain(spool) == [11]


async def test_right_sum_over_wrong_tuples_is_not_trusted(tmp_path: Path) -> None:
    """What is no row of the table does not reach Postgres, whoever wrote it."""
    path = await make_file(tmp_path)
    edit(path, "UPDATE batches SET tuples = 'abc', crc32 = 891568578 WHERE id = 2")
    edit(path, "UPDATE batches SET tuples = CAST(tuples AS BLOB)")
    async with open_spool(tmp_path) as spool:
        assert 2 not in await drain(spool)
        assert spool.damaged_events == 2


@pytest.mark.parametrize(
    "content",
    [b"garbage" * 10_000, b"x", b"SQLite format 3\0" + b"\xff" * 20_000],
    ids=["garbage", "short", "header"],
)
async def test_file_that_can_not_be_read_blocks_nothing(tmp_path: Path, content: bytes) -> None:
    """It is kept under another name, counted, and never looked at again."""
    path = await make_file(tmp_path)
    other = path.with_name("events-v1-0000000000001-00000000.db")
    other.write_bytes(content)
    async with open_spool(tmp_path) as spool:
        assert spool.damaged_events == 1
        assert await drain(spool) == list(range(1, 11))
    assert names_in(tmp_path) == [f"{other.name}.damaged"]
    assert (tmp_path / f"{other.name}.damaged").read_bytes() == content
    async with open_spool(tmp_path) as spool:
        assert (spool.is_empty, spool.damaged_events) == (True, 0)


async def test_wal_without_its_database_is_kept(tmp_path: Path) -> None:
    """To open an empty database would delete it."""
    path = await make_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(b"")
    wal = path.with_name(f"{path.name}-wal")
    wal.write_bytes(content)
    async with open_spool(tmp_path) as spool:
        assert (spool.is_empty, spool.damaged_events) == (True, 1)
    assert names_in(tmp_path) == [f"{path.name}.damaged", f"{path.name}.damaged-wal"]


async def test_file_that_was_kept_as_damaged_is_read_again_under_its_old_name(
    tmp_path: Path,
) -> None:
    """Which is how a person who mended it brings it back."""
    path = await make_file(tmp_path)
    flip_bit(path, 4)
    async with open_spool(tmp_path) as spool:
        await drain(spool)
    (tmp_path / f"{path.name}.damaged").rename(path)
    flip_bit(path, 4)
    edit(path, "DELETE FROM damaged")
    async with open_spool(tmp_path) as spool:
        assert await drain(spool) == [4]
    assert names_in(tmp_path) == []


async def test_rest_of_a_deleted_file_is_swept_away(tmp_path: Path) -> None:
    """Its process ended in between; what belongs to nobody here is left alone."""
    for suffix in ("-wal", "-shm", ".lock"):
        (tmp_path / f"events-v1-0000000000001-00000000.db{suffix}").write_bytes(b"x")
    (tmp_path / "notes.txt").touch()
    async with open_spool(tmp_path) as spool:
        assert spool.is_empty
    assert names_in(tmp_path) == ["notes.txt"]


async def test_deleted_file_is_not_appended_to(tmp_path: Path) -> None:
    """What is written to a file without a name ends with the process: it would be a false ack."""
    async with open_spool(tmp_path) as spool:
        await spool.append(make_batch(1))
        for name in names_in(tmp_path):
            (tmp_path / name).unlink()
        await spool.append(make_batch(2))
        assert len(databases(tmp_path)) == 1
        assert sorted(await drain(spool)) == [1, 2]


def damage(path: Path, numbers: random.Random) -> None:
    """Do to a file what disks and crashes do: garbage, zeros, a flipped bit, a cut."""
    content = bytearray(path.read_bytes())
    at = numbers.randrange(len(content))
    size = numbers.choice((1, 16, 512, 4096, 8192))
    match numbers.randrange(5):
        case 0:
            content[at : at + size] = numbers.randbytes(len(content[at : at + size]))
        case 1:
            content[at : at + size] = bytes(len(content[at : at + size]))
        case 2:
            content[at] ^= 1 << numbers.randrange(8)
        case 3:
            del content[at:]
        case _:
            start = numbers.randrange(100)  # the header, which a wider aim seldom hits
            content[start] ^= 1 << numbers.randrange(8)
    path.write_bytes(content)


async def drain_and_check(spool: Spool, originals: dict[int, list[bytes]]) -> int:
    """Take everything out; assert that each batch is one that was appended; return how many."""
    seen = set()
    while batches := await spool.oldest(10**9):
        for batch in batches:
            number = number_of(batch)
            assert batch.rows == originals[number]
            assert number not in seen
            seen.add(number)
        await spool.remove(batches)
    return len(seen)


async def make_images(directory: Path, batches: int) -> list[Path]:
    """Return directories with a file as it is after the end of its process, and after a kill."""
    killed, ended = directory / "killed", directory / "ended"
    async with open_spool(directory) as spool:
        for n in range(1, batches + 1):
            await spool.append(make_large_batch(n, 4_000))
        shutil.copytree(directory, killed, ignore=shutil.ignore_patterns("*-shm", "*.lock"))
    shutil.copytree(directory, ended, ignore=shutil.ignore_patterns(killed.name))
    return [killed, ended]


async def test_damaged_images_give_back_all_that_is_left_and_nothing_else(tmp_path: Path) -> None:
    """Whatever was hit: nothing invented, nothing doubled, nothing in the way, little lost."""
    numbers = random.Random(SEED)
    images = await make_images(tmp_path / "image", BATCHES)
    originals = {n: make_large_batch(n, 4_000) for n in range(1, BATCHES + 1)}
    kept = 0
    for n in range(IMAGES):
        directory = tmp_path / str(n)
        shutil.copytree(numbers.choice(images), directory)
        damage(directory / numbers.choice(names_in(directory)), numbers)
        async with open_spool(directory) as spool:
            kept += await drain_and_check(spool, originals)
            assert spool.is_empty
            await spool.append(make_batch(99))
            assert await drain(spool) == [99]
            assert bool(names_in(directory)) == (spool.damaged_events > 0)
        assert {name.rpartition(".")[2] for name in names_in(directory)} <= {
            "damaged",
            "damaged-wal",
        }
    assert kept / (BATCHES * IMAGES) > 0.6
