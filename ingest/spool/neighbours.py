"""The files of the spool that others own, or nobody yet: looked into for retries, and left alone.

A living process appends to its files, drains and deletes them meanwhile, and hears nothing of a
look. None is open between two pieces of a search: one of them may be adopted by this process next.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from ingest.spool.failures import FAILURES, StorageFailure, describe
from ingest.spool.storage import DedupKey, Place, Storage, StorageReader

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Neighbour:
    """One of them. Any method may raise what `FAILURES` lists, unless it says otherwise."""

    def __init__(self, name: str, reader: StorageReader) -> None:
        self.name = name
        self._reader = reader

    def find(self, dedup_keys: Sequence[DedupKey]) -> Iterator[list[Place]]:
        """Yield where the rows of keys are, or were; none between two looks at the disk."""
        try:
            yield from self._reader.find(dedup_keys)
        except StorageFailure:
            self._reader.close()  # its owner may have moved things beneath one look, not two
            yield from self._reader.find(dedup_keys)

    def blob(self, id_: int) -> bytes:
        """Return a batch's tuples by its number; nothing if it was removed or is damaged."""
        try:
            return self._blob(id_)
        except StorageFailure:
            self._reader.close()
            return self._blob(id_)

    def settle(self) -> None:
        """Have on the disk all that was read: its owner may have died before it had synced it."""
        self._reader.sync()

    def pause(self) -> None:
        """Let go of the file; the next use opens it again. Raises nothing."""
        self._reader.close()

    def _blob(self, id_: int) -> bytes:
        for entry in self._reader.entries(id_ - 1, 1):
            if entry.id == id_:
                try:
                    return self._reader.read(entry)
                except ValueError:  # which its owner looks after
                    break
        return b""


class Neighbours:
    """Lists them. No method raises what `FAILURES` lists."""

    def __init__(self, directory: Path, storage: Storage) -> None:
        self._directory = directory
        self._storage = storage
        self._complaints: set[str] = set()

    def files(
        self, owned: Container[str], look: Callable[[], Callable[[str], bool]]
    ) -> list[Neighbour]:
        """Return the files that are not among the `owned`, of those that `look` says are ours."""
        try:
            is_ours = look()
            names = [each.name for each in self._directory.iterdir() if self._is_file(each.name)]
        except FAILURES as error:
            self._log(self._directory.name, error)
            return []
        self._complaints &= {*names}
        return [
            Neighbour(name, self._storage.beside(self._directory / name))
            for name in names
            if name not in owned and is_ours(name)
        ]

    def complain(self, name: str, error: BaseException) -> None:
        """Log once that a file can't be read now, unless it is not there any more."""
        if (self._directory / name).exists():
            self._log(name, error)

    def _is_file(self, name: str) -> bool:
        return self._storage.file_of(name) == name

    def _log(self, name: str, error: BaseException) -> None:
        if name not in self._complaints:
            self._complaints.add(name)
            log.error("a file beside ours can't be searched now", file=name, reason=describe(error))
