"""What is in the spool is found by its client's key: the first row, as long as it waits there."""

import asyncio
import resource
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from ingest.events import copy_format, copy_reader
from ingest.spool import Spool, SpoolFull
from ingest.spool import directory as spool_directory
from ingest.spool.held import OPEN_FILES_MAX
from ingest.spool.sqlite import batches as spool_batches
from ingest.spool.sqlite import index as spool_index
from tests.spool.spooling import (
    MIB,
    MOMENT,
    append_with_keys,
    databases,
    drain,
    keys_of,
    make_batch,
    make_large_batch,
    names_in,
    open_spool,
    rows_by_key,
    scattered,
    used_bytes,
    with_keys,
)


def leave_by_the_version_before(directory: Path, *batches: list[bytes]) -> None:
    """Leave a file without an index, with tuples of five fields."""
    path = directory / "events-v1-0000000000001-00000000.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(spool_batches.SCHEMA)
        for batch in batches:
            blob = b"".join(b"\0\5" + row[2 : -len(copy_format.PLAIN)] for row in batch)
            connection.execute(
                "INSERT INTO batches (appended_ms, events, crc32, tuples) VALUES (1, ?, ?, ?)",
                (len(batch), zlib.crc32(blob), blob),
            )


def find_files(spool: Spool) -> int:
    """Return in how many files of a spool there are keys."""
    return len(spool._directory._files.with_dedup_keys())


async def test_rows_are_found_by_ids_and_by_keys(tmp_path: Path) -> None:
    """Byte for byte, among others; not those of unknown keys."""
    async with open_spool(tmp_path) as spool:
        await spool.append(make_batch(1))
        by_id, by_key = make_batch(2, 100), with_keys(make_batch(3, 100))
        rows_by_keys = await append_with_keys(spool, by_id, by_key)
        await spool.append(make_batch(4))
        unknown = [*keys_of(make_batch(1)), *keys_of(with_keys(make_batch(2)))]
        assert await spool.find([*rows_by_keys, *unknown, *rows_by_keys]) == rows_by_keys
        assert await spool.find(unknown) == {}
        assert await spool.find([]) == {}
        assert [batch.rows for batch in await spool.oldest(1000)][1:3] == [
            by_id,
            by_key,
        ]


async def test_spool_knows_whether_a_search_is_worth_it(tmp_path: Path) -> None:
    """So that plain events cost their senders nothing more."""
    async with open_spool(tmp_path) as spool:
        seen = [spool.has_dedup_keys]
        await spool.append(make_batch(1))
        seen.append(spool.has_dedup_keys)
        await append_with_keys(spool, make_batch(2))
        seen.append(spool.has_dedup_keys)
    async with open_spool(tmp_path) as spool:
        seen.append(spool.has_dedup_keys)
        await drain(spool)
        seen.append(spool.has_dedup_keys)
    assert seen == [False, False, True, True, False]


async def test_keys_that_do_not_match_the_rows_are_refused(tmp_path: Path) -> None:
    """It is a bug of the caller's, and stores nothing."""
    async with open_spool(tmp_path) as spool:
        with pytest.raises(ValueError, match="2 keys for 3 rows"):
            await spool.append(make_batch(1), keys_of(make_batch(1))[:2])
        assert spool.is_empty
        found = await append_with_keys(spool, make_batch(2))
        assert await spool.find(list(found)) == found


async def test_removed_rows_are_not_found(tmp_path: Path) -> None:
    """Also not when the next batch is appended where they were."""
    async with open_spool(tmp_path) as spool:
        gone = await append_with_keys(spool, make_batch(1), make_batch(2))
        await spool.remove(await spool.oldest(6))
        left = await append_with_keys(spool, make_batch(3))
        assert await spool.find([*gone, *left]) == left


async def test_first_row_of_a_key_is_found(tmp_path: Path) -> None:
    """As long as it waits; then the next one is."""
    first, second = (with_keys(make_batch(1)) for _ in range(2))
    second = [row.replace(b'{"a": 1}', b'{"a": 2}') for row in second]
    assert first != second
    async with open_spool(tmp_path) as spool:
        await append_with_keys(spool, first, second)
        assert await spool.find(keys_of(first)) == rows_by_key(first)
        await spool.remove((await spool.oldest(1000))[:1])
        assert await spool.find(keys_of(first)) == rows_by_key(second)


async def test_first_row_of_a_key_within_a_batch_is_found(tmp_path: Path) -> None:
    """The others are in the spool even so."""
    (first,) = with_keys(make_batch(1, 1))
    second = first.replace(b'{"a": 1}', b'{"a": 2}')
    async with open_spool(tmp_path) as spool:
        await append_with_keys(spool, [first, second])
        assert await spool.find(keys_of([first])) == rows_by_key([first])
        (batch,) = await spool.oldest(10)
        assert batch.rows == [first, second]


def day_later(row: bytes, days: int) -> bytes:
    """Return a row of a client's key as it would be if it was received so many days later."""
    start = row.rindex(MOMENT.micros.to_bytes(8, "big"))
    micros = MOMENT.micros + days * 86_400_000_000
    return row[:start] + micros.to_bytes(8, "big") + row[start + 8 :]


async def test_event_of_a_key_is_found_for_each_day(tmp_path: Path) -> None:
    """The first row of each, in any of several files; a retry within a day is none."""
    (first,) = with_keys(make_batch(1, 1))
    second, third = day_later(first, 1), day_later(first, 2)
    retries = [row.replace(b'{"a": 1}', b'{"a": 2}') for row in (first, second, third)]
    for batch in ([first, retries[0]], [second], [retries[1], third], [retries[2]]):
        async with open_spool(tmp_path) as spool:
            await append_with_keys(spool, batch)
    async with open_spool(tmp_path) as spool:
        assert find_files(spool) == 4
        assert await spool.find(keys_of([first])) == {keys_of([first])[0]: [first, second, third]}


async def test_keys_survive_a_restart(tmp_path: Path) -> None:
    """They are in the files."""
    async with open_spool(tmp_path) as spool:
        found = await append_with_keys(spool, make_batch(1), with_keys(make_batch(2)))
    async with open_spool(tmp_path) as spool:
        assert await spool.find(list(found)) == found


async def test_all_files_are_searched_with_few_descriptors(tmp_path: Path) -> None:
    """Those of this process and those that it adopted; not those without keys."""
    async with open_spool(tmp_path) as spool:
        left = await append_with_keys(spool, make_batch(1))
    async with open_spool(tmp_path) as spool:
        await spool.append(make_batch(9))
        (path, plain) = databases(tmp_path)
        shutil.copy(path, tmp_path / "copy")
    for n in range(20):
        shutil.copy(plain, tmp_path / f"events-v2-{n:013d}-00000000.db")
    for n in range(20, 40):
        shutil.copy(tmp_path / "copy", tmp_path / f"events-v2-{n:013d}-00000000.db")
    before = psutil.Process().num_fds()
    async with open_spool(tmp_path) as spool:
        own = await append_with_keys(spool, make_batch(2))
        assert find_files(spool) == 22
        with descriptor_limit(before + len(databases(tmp_path)) + 3 * (OPEN_FILES_MAX + 2)):
            with capture_logs() as logs:
                assert await spool.find([*left, *own]) == left | own
            assert logs == []


@contextmanager
def descriptor_limit(count: int) -> Iterator[None]:
    """Let this process have no more than so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("segment_keys", [1, 100, spool_index.SEGMENT_KEYS])
async def test_many_keys_are_found_in_many_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment_keys: int
) -> None:
    """10,000 of them at once, and as many that are not there."""
    monkeypatch.setattr(spool_index, "SEGMENT_KEYS", segment_keys)
    async with open_spool(tmp_path) as spool:
        found = await append_with_keys(spool, *(with_keys(make_batch(n, 250)) for n in range(40)))
        (path,) = databases(tmp_path)
        assert await spool.find([*found, *keys_of(make_batch(99, 10_000))]) == found
    async with open_spool(tmp_path) as spool:
        assert await spool.find([*found]) == found
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT count(DISTINCT segment), count(*) FROM keys"
        segments = {1: 40, 100: 40}.get(segment_keys, 1)
        assert connection.execute(query).fetchone() == (segments, 10_000)


async def test_appends_and_drains_go_on_beside_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done a piece at a time; what is drained meanwhile may be found or not."""
    monkeypatch.setattr(spool_directory, "STEP_S_MAX", 0.0)
    async with open_spool(tmp_path, bytes_max=16 * MIB) as spool:
        found = await append_with_keys(spool, *(make_large_batch(n) for n in range(60)))
        assert find_files(spool) > 1
        search = asyncio.create_task(spool.find(list(found)))
        await asyncio.sleep(0)
        await append_with_keys(spool, make_batch(99))
        assert not search.done()
        assert await drain(spool) == [*range(60), 99]
        assert (await search).items() <= found.items()
        assert spool.damaged_events == 0


async def test_file_of_the_version_before_is_read_and_emptied(tmp_path: Path) -> None:
    """Its rows have the fields of today then, and are found by nobody."""
    batches = [make_batch(1), make_batch(2)]
    leave_by_the_version_before(tmp_path, *batches)
    async with open_spool(tmp_path) as spool:
        assert (spool.events, spool.has_dedup_keys) == (6, False)
        left = await append_with_keys(spool, make_batch(3))
        assert await spool.find([*left, *keys_of(batches[0])]) == left
        assert [batch.rows for batch in await spool.oldest(6)] == batches
        assert await drain(spool) == [1, 2, 3]
    assert names_in(tmp_path) == []


async def test_room_is_asked_for_the_keys_too(tmp_path: Path) -> None:
    """Rows that would just fit do not with keys."""
    batch = make_batch(1, 3_000)
    async with open_spool(tmp_path, bytes_max=MIB) as spool:
        with pytest.raises(SpoolFull):
            await append_with_keys(spool, batch)
        await spool.append(batch)
        assert spool.events == 3_000


@pytest.mark.parametrize("events", [1, 30, 3_000])
async def test_cap_is_kept_with_keys(tmp_path: Path, events: int) -> None:
    """They count; in no order they take the most."""
    cap = 12 * MIB
    async with open_spool(tmp_path, bytes_max=cap) as spool:
        stored = await fill_with_keys(spool, tmp_path, cap, events)
        assert spool.events == stored * events > 0
        assert len(await drain(spool)) == stored
        await append_with_keys(spool, make_batch(1))


async def fill_with_keys(spool: Spool, directory: Path, cap: int, events: int) -> int:
    """Append batches until the spool is full; return how many were stored."""
    params = b'"%s"' % (b"x" * (20_000 // events))
    for stored in count():
        batch = [scattered(row) for row in make_batch(stored, events, params)]
        try:
            await append_with_keys(spool, batch)
        except SpoolFull:
            return stored
        assert used_bytes(directory) <= cap
    raise AssertionError


async def test_what_is_found_is_a_row_as_the_writer_made_it(tmp_path: Path) -> None:
    """It can be decoded for the answer."""
    (row,) = with_keys(make_batch(1, 1))
    async with open_spool(tmp_path) as spool:
        found = await append_with_keys(spool, [row])
        ((again,),) = (await spool.find(list(found))).values()
    assert copy_reader.decode(again) == copy_reader.decode(row)
