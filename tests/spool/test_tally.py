"""The tally: what is noted in a lock is believed or not known, and is never in anybody's way."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.spool import tally
from ingest.spool.lock import FileLock, is_owned, noted_events
from ingest.spool.tally import Tally
from tests.spool.spooling import file_size_limit


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """An open file."""
    made = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield made
    os.close(made)


def test_tally_is_what_was_written_last(descriptor: int) -> None:
    """However large it was before."""
    noted = Tally(descriptor)
    assert noted.read() is None
    for events in (0, 10**15, 7):
        noted.write(events)
        assert noted.read() == events


def test_no_flipped_bit_makes_another_tally(descriptor: int) -> None:
    """It would be a false alarm, or none where one is due."""
    Tally(descriptor).write(1234)
    content = os.pread(descriptor, 200, 0)
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        os.pwrite(descriptor, flipped, 0)
        assert Tally(descriptor).read() in {None, 1234}


def test_tally_of_another_boot_is_not_known(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was never synced: a power cut may have left any."""
    Tally(descriptor).write(5)
    monkeypatch.setattr(tally, "_boot", lambda: b"another")
    assert Tally(descriptor).read() is None
    monkeypatch.setattr(tally, "_boot", lambda: b"")  # where the machine does not say
    Tally(descriptor).write(5)
    assert Tally(descriptor).read() is None


def test_tally_that_can_not_be_written_is_none(descriptor: int) -> None:
    """Rather than an old one; an append goes on."""
    Tally(descriptor).write(5)
    for size in (1, 0):
        with file_size_limit(size):
            Tally(descriptor).write(4)
        assert Tally(descriptor).read() is None


def test_lock_is_looked_at_without_being_taken(tmp_path: Path) -> None:
    """By whoever only reads, and wants to know its owner and what that noted."""
    path = tmp_path / "file.db"
    assert (is_owned(path), noted_events(path)) == (False, None)
    lock = FileLock.acquire(path)
    assert lock
    lock.tally.write(3)
    assert is_owned(path)
    lock.leave()
    assert (is_owned(path), noted_events(path)) == (False, 3)
    again = FileLock.acquire(path)
    assert again
    again.release()
    assert list(tmp_path.iterdir()) == []
