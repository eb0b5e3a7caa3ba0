"""The spool looks at its disk by itself: what others do there is known without an append."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ingest.spool import Spool, SpoolFull, spool
from tests.spool.spooling import MIB, make_batch, open_spool

TIMEOUT_S = 10.0


@asynccontextmanager
async def watching(found: Spool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Have it look often."""
    monkeypatch.setattr(spool, "LOOK_INTERVAL_S", 0.02)
    task = asyncio.create_task(found.watch())
    try:
        yield
    finally:
        task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - a disk tells nobody
            await asyncio.sleep(0.01)


async def test_room_that_somebody_makes_is_found_without_an_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that says it takes nothing gets nothing: an append can't be what finds out."""
    async with open_spool(tmp_path, bytes_max=4 * MIB) as found:
        in_the_way = tmp_path / "somebody's"
        in_the_way.write_bytes(bytes(4 * MIB))
        with pytest.raises(SpoolFull):
            await found.append(make_batch(1))
        async with watching(found, monkeypatch):
            await until(lambda: found.bytes >= 4 * MIB)
            assert not found.has_room
            in_the_way.unlink()
            await until(lambda: found.has_room)
            await found.append(make_batch(2))


async def test_what_lies_there_and_what_is_free_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is not ours, and while nothing is appended."""
    async with open_spool(tmp_path) as found, watching(found, monkeypatch):
        await until(lambda: found.free_bytes > 0)
        before = found.bytes
        (tmp_path / "another").write_bytes(bytes(MIB))
        await until(lambda: found.bytes >= before + MIB)
