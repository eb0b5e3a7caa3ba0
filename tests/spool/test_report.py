"""What a person is shown of the spool: beside a running server, and where none runs."""

import asyncio
import os
from pathlib import Path

import pytest

from ingest.errors import StartupError
from ingest.events.fields import Stored
from ingest.spool.report import Export, FileStatus, export, status
from ingest.spool.sqlite.database import PAGE_BYTES
from tests.spool.spooling import (
    appending_process,
    databases,
    drain,
    flip_bit,
    make_batch,
    names_in,
    open_spool,
)

LEAF = 13
"""What a page of a table's batches begins with."""
PARAMS = b'{"big":123456789012345678901234567890,"small":0.1234567890123456789,"e":1e2}'


async def read_out(directory: Path) -> tuple[list[FileStatus], list[Stored], Export]:
    """Return the status and the export of a directory, made where they may take their time."""

    def work() -> tuple[list[FileStatus], list[Stored], Export]:
        found = export(directory)
        return status(directory), list(found), found

    return await asyncio.to_thread(work)


async def leave(directory: Path, *numbers: int) -> Path:
    """Leave a file with numbered batches."""
    async with open_spool(directory) as spool:
        for number in numbers:
            await spool.append(make_batch(number))
        return databases(directory)[-1]


async def test_status_is_the_same_with_a_server_and_without(tmp_path: Path) -> None:
    """What waits, what is damaged, since when."""
    async with open_spool(tmp_path) as spool:
        for n in range(4):
            await spool.append(make_batch(n))
        await spool.remove(await spool.oldest(3))
        (path,) = databases(tmp_path)
        flip_bit(path, 2)
        (oldest,) = await spool.oldest(1)
        running, _, _ = await read_out(tmp_path)
    ended, _, _ = await read_out(tmp_path)
    for (file,) in (running, ended):
        assert (file.name, file.is_readable) == (path.name, True)
        assert (file.events, file.damaged_events) == (6, 3)
        assert file.oldest_ms == oldest.appended_ms
        assert file.bytes > 8192


async def test_export_yields_every_event_with_every_digit(tmp_path: Path) -> None:
    """Of all files, also of those of other processes."""
    with appending_process(tmp_path, 1_000) as process:
        process.wait_for(3)
        process.pause()
        async with open_spool(tmp_path) as spool:
            await spool.append(make_batch(1, 2, PARAMS))
            _, events, _ = await read_out(tmp_path)
    found = {event["id"]: event for event in events}
    assert found["00000000-0000-0001-0000-000000000001"] == {
        "app_id": 7,
        "id": "00000000-0000-0001-0000-000000000001",
        "event_name": "test",
        "event_params": PARAMS.decode(),
        "created_at": "2026-01-10T12:00:00.123Z",
        "timestamp": None,
        "idempotency_key": None,
    }
    numbers = {int(id_[:18].replace("-", ""), 16) for id_ in found}
    process.assert_kept(numbers - {1})


def test_export_does_not_change_what_is_replayed(tmp_path: Path) -> None:
    """However long it takes; what it leaves beside the files is swept away."""
    asyncio.run(leave(tmp_path, *range(100)))
    assert len(list(export(tmp_path))) == 300
    events = iter(export(tmp_path))
    next(events)

    async def drain_all() -> list[int]:
        async with open_spool(tmp_path) as spool:
            return await drain(spool)

    assert asyncio.run(drain_all()) == list(range(100))
    assert len(list(events)) < 299
    assert names_in(tmp_path) == []


async def test_damaged_events_are_counted_beside_the_export(tmp_path: Path) -> None:
    """In a file that waits, in one that is kept, and in one that can't be read at all."""
    flip_bit(await leave(tmp_path, 10, 11, 12), 1)
    async with open_spool(tmp_path) as spool:
        assert await drain(spool) == [11, 12]
    flip_bit(await leave(tmp_path, 20, 21, 22), 1)
    garbage = tmp_path / "events-v1-0000000000001-00000000.db"
    garbage.write_bytes(b"garbage" * 1000)
    files, events, found = await read_out(tmp_path)
    assert len(events) == 6
    assert (found.damaged_events, found.unreadable_files) == (6, [garbage.name])
    figures = [(each.events, each.damaged_events, each.is_readable) for each in files]
    assert figures == [(0, 0, False), (0, 3, True), (9, 0, True)]


async def test_export_goes_on_behind_a_page_that_can_not_be_read(tmp_path: Path) -> None:
    """It has what a server would find in the file, and says that it is not all."""
    path = await leave(tmp_path, *range(200))
    content = bytearray(path.read_bytes())
    page = next(at for at in range(7 * PAGE_BYTES, len(content), PAGE_BYTES) if content[at] == LEAF)
    content[page : page + PAGE_BYTES] = bytes(PAGE_BYTES)
    path.write_bytes(content)
    _, events, found = await read_out(tmp_path)
    assert found.unreadable_files == [path.name]
    async with open_spool(tmp_path) as spool:
        numbers = await drain(spool)
    assert 100 < len(numbers) < 200
    assert len(events) == 3 * len(numbers)


def test_directory_that_is_not_there_is_an_empty_spool(tmp_path: Path) -> None:
    """Nothing was ever spooled."""
    assert status(tmp_path / "spool") == []
    assert list(export(tmp_path / "spool")) == []
    assert names_in(tmp_path) == []


def test_directory_that_can_not_be_read_is_one_clear_line(tmp_path: Path) -> None:
    """Not an empty spool."""
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=r"can't read the spool directory .*: Not a directory"):
        status(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_directory_of_somebody_else_is_one_clear_line(tmp_path: Path) -> None:
    """With a hint at who may read it."""
    (tmp_path / "spool").mkdir(mode=0)
    with pytest.raises(StartupError, match="run this as the user"):
        status(tmp_path / "spool")
