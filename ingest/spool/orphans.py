"""The files of the spool whose process is gone, for somebody to take over."""

from collections.abc import Callable, Container
from pathlib import Path

import structlog

from ingest.spool import lock
from ingest.spool.failures import FAILURES, describe
from ingest.spool.file import SpoolFile
from ingest.spool.lock import FileLock
from ingest.spool.storage import Storage

log = structlog.get_logger(__name__)


class Orphans:
    """A list that is made by `look` and used up by `adopt_oldest`."""

    def __init__(self, directory: Path, storage: Storage) -> None:
        self._directory = directory
        self._storage = storage
        self._names: list[str] = []
        self._complaints: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._names)

    def look(self, owned: Container[str], is_ours: Callable[[str], bool]) -> None:
        """List the files that are not among the `owned`, but for those of another database."""
        try:
            found = [each.name.removesuffix(lock.SUFFIX) for each in self._directory.iterdir()]
        except OSError as error:
            self._complain(self._directory.name, error)
            return
        files = {self._storage.file_of(name) for name in found}
        names = {name for name in files if name is not None and name not in owned}
        self._complaints &= names
        self._names = sorted(filter(is_ours, names), reverse=True)
        for name in names.difference(self._names) - self._complaints:
            self._complaints.add(name)
            log.error("a file of the spool is another database's, and left alone", file=name)

    def adopt_oldest(self) -> SpoolFile | None:
        """Take over the next file in the list; None if it has an owner or can't be used now."""
        path = self._directory / self._names.pop()
        try:
            owned = FileLock.acquire(path)
            return self._adopt(path, owned) if owned else None
        except FAILURES as error:
            self._complain(path.name, error)
            return None

    def _adopt(self, path: Path, owned: FileLock) -> SpoolFile | None:
        """Return a file that has just been locked; None if only remains of it are left."""
        try:
            if not path.exists():
                self._storage.open(path).delete()  # its process ended while it deleted it
                owned.release()
                return None
            file = SpoolFile.adopt(self._storage.open(path), owned)
        except BaseException:
            owned.release()
            raise
        if file.events:
            log.info("adopted a file of the spool", file=file.name, events=file.events)
        return file

    def _complain(self, name: str, error: BaseException) -> None:
        """Log once what is tried again at every look."""
        if name not in self._complaints:
            self._complaints.add(name)
            log.error("nothing can be adopted from the spool", at=name, reason=describe(error))
