"""The files of the spool whose process is gone, for somebody to take over."""

import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from ingest.disk import is_there
from ingest.spool import lock
from ingest.spool.failures import FAILURES, describe
from ingest.spool.file import SpoolFile
from ingest.spool.lock import FileLock
from ingest.spool.notes import KeyNotes
from ingest.spool.storage import DAMAGED_SUFFIX, Storage

log = structlog.get_logger(__name__)


_AGAIN_MIN_S: Final = 2.0
_AGAIN_MAX_S: Final = 30.0


class _Unusable(NamedTuple):
    """A file that nobody owns, and that could not be adopted."""

    again_s: float
    """When it is tried again. Not at every look: to read a damaged log takes tenths of a second,
    and each of the server's processes reads it."""
    wait_s: float


class Orphans:
    """A list that is made by `look` and used up by `adopt_oldest`."""

    def __init__(self, directory: Path, storage: Storage) -> None:
        self._directory = directory
        self._storage = storage
        self._names: list[str] = []
        self._unusable: dict[str, _Unusable] = {}
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
        ours = {*filter(is_ours, names)}
        for name in names - ours - self._complaints:
            self._complaints.add(name)
            log.error("a file of the spool is another database's, and left alone", file=name)
        self._unusable = {name: self._unusable[name] for name in self._unusable.keys() & ours}
        now_s = time.monotonic()
        waiting = {name for name, each in self._unusable.items() if now_s < each.again_s}
        self._names = sorted(ours - waiting, reverse=True)
        return True

    def adopt_oldest(self, notes: KeyNotes) -> SpoolFile | None:
        """Take over the next file in the list; None if it has an owner or can't be used now.

        That keys may be in it is noted before anybody else could take it for a living one's.
        """
        path = self._directory / self._names.pop()
        try:
            file = None
            if owned := FileLock.acquire(path):
                notes.note(has_keys=True)
                file = self._adopt(path, owned)
        except FAILURES as error:
            self._try_later(path.name)
            self._complain(path.name, error)
            return None
        self._unusable.pop(path.name, None)
        return file

    def _adopt(self, path: Path, owned: FileLock) -> SpoolFile | None:
        """Return a file that has just been locked; None if only remains of it are left."""
        try:
            if not is_there(path):
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
        is_kept = is_there(path.with_name(path.name + DAMAGED_SUFFIX))
        self._storage.open(path).delete()
        if missing and not is_kept:
            log.error("a file of the spool was deleted by somebody", file=path.name, events=missing)
            owned.tally.write(0)  # which is told once
        owned.release()

    def _try_later(self, name: str) -> None:
        """Leave a file for a while, each time for longer."""
        before = self._unusable.get(name)
        wait_s = min(_AGAIN_MAX_S, 2 * before.wait_s if before else _AGAIN_MIN_S)
        self._unusable[name] = _Unusable(time.monotonic() + wait_s, wait_s)

    def _complain(self, name: str, error: BaseException) -> None:
        """Log once what is tried again at every look."""
        if name not in self._complaints:
            self._complaints.add(name)
            log.error("nothing can be adopted from the spool", at=name, reason=describe(error))
