"""The ledger: every acknowledged id and which payload it was for, in files, so that memory is flat.

Each process of the client writes a directory of its own with two files: ids of 36 characters each,
and at the same index the payload's number in 4 bytes.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from array import array

ID_CHARS = 36
_ENTRIES_READ = 50_000
_NUMBER_BYTES = 4


class Entries(NamedTuple):
    """Some of the acknowledgements, at most 50,000."""

    ids: bytes
    """36 characters each."""
    payloads: NDArray[np.int32]
    """Shape (n,)."""


class Ledger:
    """What one process writes; a context manager."""

    def __init__(self, directory: Path) -> None:
        self._files = ExitStack()
        self._ids = self._files.enter_context((directory / "ids").open("wb"))
        self._payloads = self._files.enter_context((directory / "payloads").open("wb"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def append(self, ids: bytearray, payloads: "array[int]") -> None:
        """Write entries, and empty what they came in."""
        self._ids.write(ids)
        payloads.tofile(self._payloads)
        del ids[:], payloads[:]


def read(directory: Path) -> Iterator[Entries]:
    """Yield what all processes wrote into directories in `directory`."""
    for place in sorted(directory.iterdir()):
        with (place / "ids").open("rb") as ids, (place / "payloads").open("rb") as payloads:
            while text := ids.read(_ENTRIES_READ * ID_CHARS):
                numbers = payloads.read(len(text) // ID_CHARS * _NUMBER_BYTES)
                yield Entries(text, np.frombuffer(numbers, dtype=np.int32))
