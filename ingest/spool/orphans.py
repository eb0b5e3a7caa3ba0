"""The files of the spool whose process is gone, for somebody to take over."""

from collections.abc import Callable, Container
from pathlib import Path

import structlog

from ingest.spool import lock
from ingest.spool.failures import FAILURES, describe
from ingest.spool.file import SpoolFile
from ingest.spool.lock import FileLock
from ingest.spool.notes import KeyNotes
from ingest.spool.storage import DAMAGED_SUFFIX, Storage

log = structlog.get_logger(__name__)


class Orphans:
    """A list that is made by `look` and used up by `adopt_oldest`."""

    def __init__(self, directory: Path, storage: Storage) -> None:
        self._directory = directory
        self._storage = storage
        self._names: list[str] = []
        self._unusable: set[str] = set()
        """Those of the last round that nobody owns, and that can't be adopted now."""
        self._complaints: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._names)

    @property
    def are_left(self) -> bool:
        """Whether there may be a file that nobody owns."""
        return bool(self._names or self._unusable)

    def look(self, owned: Container[str], is_ours: Callable[[str], bool]) -> bool:
        """List the files that are not among the `owned`, but for those of another database.

        Returns whether that was possible.
        """
        try:
            found = [each.name.removesuffix(lock.SUFFIX) for each in self._directory.iterdir()]
        except OSError as error:
            self._complain(self._directory.name, error)
            return False
        files = {self._storage.file_of(name) for name in found}
        names = {name for name in files if name is not None and name not in owned}
        self._complaints &= names
        self._unusable.clear()
        self._names = sorted(filter(is_ours, names), reverse=True)
        for name in names.difference(self._names) - self._complaints:
            self._complaints.add(name)
            log.error("a file of the spool is another database's, and left alone", file=name)
        return True

    def adopt_oldest(self, notes: KeyNotes) -> SpoolFile | None:
        """Take over the next file in the list; None if it has an owner or can't be used now.

        That keys may be in it is noted before anybody else could take it for a living one's.
        """
        path = self._directory / self._names.pop()
        try:
            if (owned := FileLock.acquire(path)) is None:
                return None
            notes.note(has_keys=True)
            return self._adopt(path, owned)
        except FAILURES as error:
            self._unusable.add(path.name)
            self._complain(path.name, error)
            return None

    def _adopt(self, path: Path, owned: FileLock) -> SpoolFile | None:
        """Return a file that has just been locked; None if only remains of it are left."""
        try:
            if not path.exists():
                self._sweep(path, owned)
                return None
            file = SpoolFile.adopt(self._storage.open(path), owned)
        except BaseException:
            owned.leave()  # whoever tries again needs the tally
            raise
        if file.events:
            log.info("adopted a file of the spool", file=file.name, events=file.events)
        return file

    def _sweep(self, path: Path, owned: FileLock) -> None:
        """Delete the remains of a file: its process ended while it deleted it, or somebody did."""
        missing = owned.tally.read() or 0
        if missing and not path.with_name(path.name + DAMAGED_SUFFIX).exists():
            log.error("a file of the spool was deleted by somebody", file=path.name, events=missing)
        self._storage.open(path).delete()
        owned.release()

    def _complain(self, name: str, error: BaseException) -> None:
        """Log once what is tried again at every look."""
        if name not in self._complaints:
            self._complaints.add(name)
            log.error("nothing can be adopted from the spool", at=name, reason=describe(error))
