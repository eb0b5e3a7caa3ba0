"""The files of the spool whose process is gone, for somebody to take over."""

from collections.abc import Container
from pathlib import Path

import structlog

from ingest.spool import database
from ingest.spool.failures import FAILURES, describe
from ingest.spool.file import SpoolFile
from ingest.spool.lock import FileLock

log = structlog.get_logger(__name__)


class Orphans:
    """A list that is made by `look` and used up by `adopt_oldest`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names: list[str] = []
        self._complaints: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._names)

    def look(self, owned: Container[str]) -> None:
        """List the files that are not among the `owned`."""
        try:
            found = [database.NAME.fullmatch(each.name) for each in self._directory.iterdir()]
        except OSError as error:
            self._complain(self._directory.name, error)
            return
        names = {match[1] for match in found if match and match[1] not in owned}
        self._names = sorted(names, reverse=True)
        self._complaints &= names

    def adopt_oldest(self) -> SpoolFile | None:
        """Take over the next file in the list; None if it has an owner or can't be used now."""
        path = self._directory / self._names.pop()
        try:
            lock = FileLock.acquire(path)
            return _adopt(path, lock) if lock else None
        except FAILURES as error:
            self._complain(path.name, error)
            return None

    def _complain(self, name: str, error: BaseException) -> None:
        """Log once what is tried again at every look."""
        if name not in self._complaints:
            self._complaints.add(name)
            log.error("nothing can be adopted from the spool", at=name, reason=describe(error))


def _adopt(path: Path, lock: FileLock) -> SpoolFile | None:
    try:
        if not path.exists():
            database.delete(path)  # its process ended while it deleted it
            lock.release()
            return None
        file = SpoolFile.adopt(path, lock)
    except BaseException:
        lock.release()
        raise
    if file.events:
        log.info("adopted a file of the spool", file=file.name, events=file.events)
    return file
