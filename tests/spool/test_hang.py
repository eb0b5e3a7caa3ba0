"""A disk that does not answer: nobody waits for it longer than the time-out."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ingest.spool import Spool, SpoolFailed
from tests.spool.spooling import (
    append_with_keys,
    databases,
    drain,
    make_batch,
    open_spool,
)
from tests.store.events import until


def has_room(spool: Spool) -> bool:
    """Return whether it has, now: to a type checker a property that was seen stays as it was."""
    return spool.has_room


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A spool directory that does not exist yet."""
    return tmp_path / "data" / "spool"


async def test_disk_that_hangs_is_not_waited_for(directory: Path) -> None:
    """The first caller learns it after the time-out, the next at once; then it goes on."""
    async with open_spool(directory, timeout_s=0.3) as spool:
        await spool.append(make_batch(1))
        with closing(sqlite3.connect(databases(directory)[0], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(SpoolFailed) as first:
                await spool.append(make_batch(2))
            with pytest.raises(SpoolFailed, match="does not answer") as second:
                await spool.append(make_batch(3))
            assert (first.value.stored, second.value.stored) == (None, False)
            assert not has_room(spool)
        await until(lambda: has_room(spool))
        # What was refused without a word of certainty may be there; the certain one is not.
        found = await drain(spool)
        assert found in ([1], [1, 2])
        assert spool.recovered_events == 3 * (len(found) - 1)


async def test_append_whose_caller_gave_up_is_recovered(directory: Path) -> None:
    """Nobody was told that it is in the spool, so it is counted like what others left there."""
    async with open_spool(directory) as spool:
        await spool.append(make_batch(1))
        with closing(sqlite3.connect(databases(directory)[0], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            append = asyncio.create_task(spool.append(make_batch(2)))
            await asyncio.sleep(0.1)
            append.cancel()
            await asyncio.wait((append,))
        await spool.append(make_batch(3))
        found = await drain(spool)
        assert found in ([1, 2, 3], [1, 3])
        assert spool.recovered_events == 3 * (len(found) - 2)


async def test_closed_spool_refuses(directory: Path) -> None:
    """And certainly stores nothing."""
    async with open_spool(directory) as spool:
        pass
    with pytest.raises(SpoolFailed) as failure:
        await spool.append(make_batch(1))
    assert failure.value.stored is False


async def test_search_does_not_wait_for_a_disk_that_hangs(tmp_path: Path) -> None:
    """Nor for a spool that was closed."""
    async with open_spool(tmp_path, timeout_s=0.3) as spool:
        found = await append_with_keys(spool, make_batch(1))
        with closing(sqlite3.connect(databases(tmp_path)[0], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(SpoolFailed):
                await spool.append(make_batch(2))
            with pytest.raises(SpoolFailed):
                await spool.find(list(found))
    with pytest.raises(SpoolFailed):
        await spool.find(list(found))
