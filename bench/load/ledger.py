"""The ledger: every acknowledged id and which payload it was for, in files, so that memory is flat.

Each process of the client writes a directory of its own with two files: ids of 36 characters each,
and at the same index the payload's number in 4 bytes. A thread writes them: where Postgres flushes
the same disk, a write may wait for it, and the client's loop with it.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from array import array

ID_CHARS = 36
_ENTRIES_READ = 50_000
_NUMBER_BYTES = 4
_BYTES_GATHERED: Final = 1 << 20


class Entries(NamedTuple):
    """Some of the acknowledgements, at most 50,000."""

    ids: bytes
    """36 characters each."""
    payloads: NDArray[np.int32]
    """Shape (n,)."""


class Ledger:
    """What one process writes; a context manager, at whose end all of it is in the files."""

    def __init__(self, directory: Path) -> None:
        self._ids_gathered = bytearray()
        self._payloads_gathered = bytearray()
        self._written: Future[None] | None = None
        self._files = ExitStack()
        self._ids = self._files.enter_context((directory / "ids").open("wb"))
        self._payloads = self._files.enter_context((directory / "payloads").open("wb"))
        # Entered last, so that it has written everything before the files are closed.
        self._writer = self._files.enter_context(ThreadPoolExecutor(1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._files:
            self._hand_over()
            self._finish()

    def append(self, ids: bytearray, payloads: "array[int]") -> None:
        """Take entries to be written, and empty what they came in."""
        self._ids_gathered += ids
        self._payloads_gathered += payloads.tobytes()
        del ids[:], payloads[:]
        if len(self._ids_gathered) >= _BYTES_GATHERED:
            self._hand_over()

    def _hand_over(self) -> None:
        """Let the thread write what has gathered, once it has written the last."""
        self._finish()
        self._written = self._writer.submit(
            self._write, self._ids_gathered, self._payloads_gathered
        )
        self._ids_gathered, self._payloads_gathered = bytearray(), bytearray()

    def _finish(self) -> None:
        if self._written is not None:
            self._written.result()  # raises what went wrong, such as a full disk

    def _write(self, ids: bytearray, payloads: bytearray) -> None:
        self._ids.write(ids)
        self._payloads.write(payloads)


def read(directory: Path) -> Iterator[Entries]:
    """Yield what all processes wrote into directories in `directory`."""
    for place in sorted(directory.iterdir()):
        with (place / "ids").open("rb") as ids, (place / "payloads").open("rb") as payloads:
            while text := ids.read(_ENTRIES_READ * ID_CHARS):
                numbers = payloads.read(len(text) // ID_CHARS * _NUMBER_BYTES)
                yield Entries(text, np.frombuffer(numbers, dtype=np.int32))
