"""The ledger: what is appended is read back in its order, and a disk that is full is no secret."""

from array import array
from pathlib import Path

import pytest

from bench.load import ledger
from bench.load.ledger import ID_CHARS, Ledger

ENTRIES = 10_000


def test_entries_are_in_the_files_at_the_end_and_in_their_order(tmp_path: Path) -> None:
    """More than the thread is given at once, in pieces of all sizes."""
    (tmp_path / "0").mkdir()
    with Ledger(tmp_path / "0") as written:
        for first in range(0, ENTRIES * 10, ENTRIES):
            numbers = array("i", range(first, first + ENTRIES))
            ids = bytearray("".join(f"{n:036}" for n in numbers), "ascii")
            written.append(ids, numbers)
            assert not ids
            assert not numbers
    found = list(ledger.read(tmp_path))
    numbers_found = [int(n) for each in found for n in each.payloads]
    assert numbers_found == list(range(ENTRIES * 10))
    text = b"".join(each.ids for each in found)
    assert int(text[-ID_CHARS:]) == ENTRIES * 10 - 1


def test_write_that_fails_is_raised(tmp_path: Path) -> None:
    """The thread's error ends the run, rather than an audit of half of it."""
    (tmp_path / "ids").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"), Ledger(tmp_path) as written:  # noqa: PT012
        for _ in range(3):
            written.append(bytearray(2 << 20), array("i"))
