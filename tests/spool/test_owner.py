"""Whose a spool directory is: one database's, for all who use it, and wherever files are copied."""

import asyncio
import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest

from ingest.errors import StartupError
from ingest.spool import SpoolFailed, owner
from ingest.spool.formats import STORAGE
from ingest.spool.owner import NAME, Owner, Ownership
from tests.spool.spooling import databases, drain, make_batch, names_in, open_spool

OURS, THEIRS = uuid4(), uuid4()
NOBODY = 65534


async def spool_for(database_id: UUID, directory: Path, *numbers: int) -> None:
    """Leave batches for a database in a directory."""
    async with open_spool(directory) as spool:
        assert await spool.claim(database_id) == database_id
        for number in numbers:
            await spool.append(make_batch(number))


async def test_first_to_claim_a_directory_has_it_for_good(tmp_path: Path) -> None:
    """Whoever opens it next knows whose it is, and another claim changes nothing."""
    async with open_spool(tmp_path) as spool:
        assert spool.database_id is None
        assert await spool.claim(OURS) == spool.database_id == OURS
    async with open_spool(tmp_path) as spool:
        assert spool.database_id == OURS
        assert await spool.claim(THEIRS) == spool.database_id == OURS
    assert (tmp_path / NAME).read_text() == f"{OURS}\n"
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_of_many_that_claim_at_once_one_has_it(tmp_path: Path) -> None:
    """And all others hear of that one."""
    for turn in range(20):
        directory = tmp_path / str(turn)
        directory.mkdir()
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(owner.claim, [directory] * 2, [OURS, THEIRS]))
        assert found == [owner.read(directory)] * 2


async def test_file_of_another_database_is_left_alone_wherever_it_is_copied_to(
    tmp_path: Path,
) -> None:
    """Its neighbours are drained, and the database that it is for gets it in the end."""
    here, there = tmp_path / "here", tmp_path / "there"
    await spool_for(OURS, here, 1, 2)
    await spool_for(THEIRS, there, 3, 4)
    (theirs,) = databases(there)
    shutil.copy(theirs, here)
    async with open_spool(here) as spool:
        assert spool.events == 6
        assert await drain(spool) == [1, 2]
        assert spool.is_empty
    assert names_in(here) == [NAME, theirs.name]
    assert STORAGE.database_of(theirs.name) == THEIRS
    shutil.copy(here / theirs.name, there)
    async with open_spool(there) as spool:
        assert await drain(spool) == [3, 4]


async def test_files_without_an_id_are_the_first_claimers(tmp_path: Path) -> None:
    """As the version before left them, and a process that did not know its database yet."""
    async with open_spool(tmp_path) as spool:
        await spool.append(make_batch(1))
    async with open_spool(tmp_path) as spool:
        assert spool.events == 3
        await spool.claim(OURS)
        await spool.append(make_batch(2))
        assert await drain(spool) == [1, 2]


async def test_files_of_a_directory_that_lost_its_owner_are_not_anybody_s(tmp_path: Path) -> None:
    """Their names say whose they are, so who claims the directory then does not get them."""
    await spool_for(OURS, tmp_path, 1)
    (tmp_path / NAME).unlink()
    async with open_spool(tmp_path) as spool:
        assert (spool.events, await spool.claim(THEIRS)) == (0, THEIRS)
        assert await drain(spool) == []
    (tmp_path / NAME).unlink()
    async with open_spool(tmp_path) as spool:
        await spool.claim(OURS)
        assert await drain(spool) == [1]


async def test_directory_that_was_given_to_another_database_takes_nothing_more(
    tmp_path: Path,
) -> None:
    """A process that goes on with it says so; what it holds it still has."""
    async with open_spool(tmp_path) as spool:
        await spool.claim(OURS)
        await spool.append(make_batch(1))
        await asyncio.to_thread(owner.give, tmp_path, THEIRS, frozenset())
        assert await drain(spool) == [1]
        with pytest.raises(SpoolFailed, match="another database's") as refused:
            await spool.append(make_batch(2))
        assert refused.value.stored is False
        assert not spool.has_room


async def test_given_files_are_drained_for_the_new_owner(tmp_path: Path) -> None:
    """Those named, and no others."""
    await spool_for(OURS, tmp_path, 1)
    given = await asyncio.to_thread(owner.give, tmp_path, THEIRS, frozenset({OURS}))
    assert given == await asyncio.to_thread(owner.read, tmp_path)
    assert given == Owner(THEIRS, frozenset({OURS}))
    async with open_spool(tmp_path) as spool:
        assert spool.database_id == THEIRS
        assert await drain(spool) == [1]


@pytest.mark.parametrize("content", [b"", b"\n", b"x", b"\xff\xfe", b"0" * 100_000])
async def test_file_that_says_nothing_stops_the_start_with_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    """Rather than that somebody else gets the events."""
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(StartupError, match="nonito spool adopt") as refused:
        async with open_spool(tmp_path):
            pass
    assert str(tmp_path) in str(refused.value)


def test_directory_that_root_gives_is_still_the_server_s(tmp_path: Path) -> None:
    """`sudo nonito spool adopt` must not keep the server's own account out."""
    if os.geteuid():
        pytest.skip("only root can give a file to somebody else")
    os.chown(tmp_path, NOBODY, NOBODY)
    owner.give(tmp_path, uuid4(), frozenset())
    found = (tmp_path / owner.NAME).stat()
    assert (found.st_uid, found.st_gid) == (NOBODY, NOBODY)


def test_full_disk_is_no_reason_not_to_claim(tmp_path: Path) -> None:
    """It is written once there is room; until then the server knows it."""
    ownership = Ownership(tmp_path, STORAGE)
    ownership.open()
    database_id = uuid4()
    with patch.object(owner, "claim", side_effect=OSError(errno.ENOSPC, "full")):
        ownership.claim(database_id)
    assert ownership.database_id == database_id
