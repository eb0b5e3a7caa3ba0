"""A disk that hangs holds up nobody but whoever asked for what is on it."""

import asyncio
import os
import threading
from typing import IO

import pytest

from ingest.api import files


async def until_closed(file: IO[bytes]) -> None:
    """Wait for the thread that closes it."""
    async with asyncio.timeout(10):
        while not file.closed:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.001)


async def test_file_that_can_not_be_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither reading nor closing it holds up the event loop: that goes on while both hang."""
    reader, writer = os.pipe()
    hanging = os.fdopen(reader, "rb")
    monkeypatch.setattr(files, "_TIMEOUT_S", 0.05)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    with pytest.raises(TimeoutError), files.closed(hanging):
        await files.in_time(hanging.read, 1)
    counting.cancel()
    assert turns > 10
    assert not hanging.closed
    os.close(writer)
    await until_closed(hanging)


async def test_file_that_was_sent_is_closed() -> None:
    """In a thread, and soon."""
    reader, writer = os.pipe()
    os.close(writer)
    file = os.fdopen(reader, "rb")
    with files.closed(file):
        assert await files.in_time(file.read, 1) == b""
        assert not file.closed
    await until_closed(file)


async def test_what_a_thread_raises_is_raised() -> None:
    """And it was another thread."""
    assert await files.in_time(threading.current_thread) is not threading.current_thread()
    with pytest.raises(FileNotFoundError):
        await files.in_time(os.stat, "/nowhere")
