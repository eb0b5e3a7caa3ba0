"""Somebody deletes files of the spool, or all of it, while it is used.

A 202 is for what is on the disk, so nothing that was appended to a file without a name is one; and
what was acknowledged before is put back on the disk, as long as its file is open.
"""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import ANY, patch
from uuid import uuid4

import pytest

from ingest.spool import SpoolFailed
from ingest.spool.owner import NAME
from tests.spool.spooling import (
    append_with_keys,
    databases,
    drain,
    make_batch,
    names_in,
    open_spool,
)

Harm = Callable[[Path], object]


def delete_files(directory: Path) -> None:
    """Delete all that is in a directory."""
    for path in [*directory.iterdir()]:
        path.unlink()


def delete_logs(directory: Path) -> None:
    """Delete the WALs, in which the latest batches are."""
    for path in [*directory.glob("*-wal")]:
        path.unlink()


def move(directory: Path) -> None:
    """Move a directory out of the way."""
    directory.rename(directory.with_name("moved"))


def exchange(directory: Path) -> None:
    """Put a copy in its place, so that all names are there."""
    move(directory)
    shutil.copytree(directory.with_name("moved"), directory)


HARMS = pytest.mark.parametrize("harm", [shutil.rmtree, delete_files, delete_logs, move, exchange])


@HARMS
async def test_append_after_a_deletion_is_on_the_disk_and_so_is_what_was_there(
    tmp_path: Path, harm: Harm
) -> None:
    """Whoever opens the directory next, after a crash, finds all of it, each once."""
    directory = tmp_path / "spool"
    async with open_spool(directory) as spool:
        await spool.claim(uuid4())
        for number in range(1, 20):
            await spool.append(make_batch(number))
        before = databases(directory)
        harm(directory)
        await spool.append(make_batch(20))
        assert spool.events == 20 * 3
        assert set(databases(directory)) - set(before)
        last = 20
        while spool._directory.figures.is_overdue:  # what was there is put back behind an append
            last += 1
            await spool.append(make_batch(last))
        assert (spool.events, spool.damaged_events) == (last * 3, 0)
        assert NAME in names_in(directory)
        found = copy_of(directory, tmp_path / "copy", without=before)
    async with open_spool(found) as spool:
        assert sorted(await drain(spool)) == list(range(1, last + 1))


def copy_of(directory: Path, copy: Path, without: list[Path]) -> Path:
    """Copy a directory as a crash would leave it, but for files that stand in others' place."""
    left_out = [path.name for path in without]
    return shutil.copytree(
        directory,
        copy,
        ignore=lambda _, names: [
            name for name in names if name.startswith(tuple(left_out)) or name.endswith(".lock")
        ],
    )


@HARMS
async def test_deleted_files_are_drained_as_if_they_were_there(tmp_path: Path, harm: Harm) -> None:
    """Also those of which nobody knows yet that they are gone; rows are found by their keys."""
    directory = tmp_path / "spool"
    async with open_spool(directory) as spool:
        rows = await append_with_keys(spool, make_batch(1), make_batch(2))
        harm(directory)
        assert await spool.find([*rows]) == rows
        await spool.append(make_batch(3))
        await spool.append(make_batch(4))
        assert await spool.find([*rows]) == rows
        assert sorted(await drain(spool)) == [1, 2, 3, 4]
        assert (spool.events, spool.damaged_events) == (0, 0)


async def test_batch_on_its_way_is_not_put_back(tmp_path: Path) -> None:
    """Or it would be counted as replayed twice."""
    async with open_spool(tmp_path) as spool:
        await spool.append(make_batch(1))
        batches = await spool.oldest(10)
        delete_files(tmp_path)
        await spool.append(make_batch(2))
        await spool.append(make_batch(3))
        await spool.remove(batches)
        assert spool.events == 2 * 3
        assert await drain(spool) == [2, 3]


async def test_what_can_not_be_read_any_more_is_counted_as_damaged(tmp_path: Path) -> None:
    """A file that was not open when it was deleted; the others go on."""
    async with open_spool(tmp_path) as spool:
        await spool.append(make_batch(1))
        (file,) = spool._directory._files
        await spool._do(file.close)
        delete_files(tmp_path)
        spool._directory._looked_s = 0.0
        assert await drain(spool) == []
        assert (spool.events, spool.damaged_events, spool.newly_damaged_events) == (0, 3, 3)
        await spool.append(make_batch(2))
        assert await drain(spool) == [2]


async def test_directory_that_can_not_be_made_again_is_named(tmp_path: Path) -> None:
    """With what the system says, until it can."""
    directory = tmp_path / "spool"
    async with open_spool(directory) as spool:
        await spool.append(make_batch(1))
        shutil.rmtree(directory)
        directory.write_text("in the way")
        with pytest.raises(SpoolFailed, match=f"{directory}: ") as refused:
            await spool.append(make_batch(2))
        assert refused.value.stored is False
        had_room = spool.has_room
        directory.unlink()
        await spool.append(make_batch(3))
        assert (had_room, spool.has_room) == (False, True)
        assert sorted(await drain(spool)) == [1, 3]


async def test_idle_spool_makes_its_directory_again(tmp_path: Path) -> None:
    """At its next look around, for the next process as well as for itself."""
    directory, owner = tmp_path / "spool", uuid4()
    async with open_spool(directory) as spool:
        await spool.claim(owner)
        shutil.rmtree(directory)
        spool._directory._looked_s = 0.0
        assert await spool.oldest(1) == []
        assert (directory / NAME).read_text() == f"{owner}\n"


async def test_stop_in_good_order_saves_what_was_deleted(tmp_path: Path) -> None:
    """Without an append behind the deletion, which would have noticed it."""
    directory = tmp_path / "spool"
    async with open_spool(directory) as spool:
        for number in range(1, 6):
            await spool.append(make_batch(number))
        shutil.rmtree(directory)
    async with open_spool(directory) as spool:
        assert sorted(await drain(spool)) == list(range(1, 6))


async def test_stop_saves_batches_that_were_on_their_way_and_however_many(tmp_path: Path) -> None:
    """They came no further; and a stop takes its time."""
    directory = tmp_path / "spool"
    async with open_spool(directory) as spool:
        for number in range(1, 501):
            await spool.append(make_batch(number))
        await spool.oldest(100)
        shutil.rmtree(directory)
        await spool.append(make_batch(501))
    async with open_spool(directory) as spool:
        assert sorted(await drain(spool)) == list(range(1, 502))


async def test_directory_that_can_not_be_looked_at_stops_nobody(tmp_path: Path) -> None:
    """A file that is closed may be there or not: it is asked for again."""
    directory = tmp_path / "above" / "spool"
    async with open_spool(directory) as spool:
        await spool.append(make_batch(1))
        for file in spool._directory._files:
            await spool._do(file.close)
        spool._directory._looked_s = 0
        with patch.object(Path, "exists", side_effect=PermissionError(errno.EACCES, "no")):
            assert await spool.oldest(10) in ([], [ANY])
        assert sorted(await drain(spool)) == [1]
