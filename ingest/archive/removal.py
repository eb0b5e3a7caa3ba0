"""Somebody's events taken out of all files of the archive, several files at a time.

To write a file anew takes seconds of CPU and no lock: it is done in as many threads as there may
be, each with a DuckDB of its own. That it counts is done by one of them, file by file.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

from ingest.archive import erasing
from ingest.archive.directory import Directory
from ingest.archive.erasing import Due, Rewritten
from ingest.archive.failures import Overtaken, TimedOut
from ingest.archive.patience import patiently
from ingest.archive.workspace import Bounds, Workspace
from ingest.store.erasing import Whose

_ROUNDS_MAX: Final = 1_000
_EVENTS_AT_ONCE: Final = 500_000
"""Of about so many events the ids are in memory at a time."""

Tell = Callable[[int, int], None]
"""Told how many of so many files are done."""


class Removal:
    """The archive's part of an erasure. Blocks: to be used in a thread, and stopped from another.

    All of it raises ArchiveTrouble.
    """

    def __init__(self, url: str, path: Path, bounds: Bounds, threads: int) -> None:
        """So many files are written at a time, each within `bounds`."""
        self._url = url
        self._path = path
        self._bounds = bounds
        self._threads = threads
        self._spare: list[Workspace] = []
        self._used: list[Workspace] = []
        self._lock = threading.Lock()
        self._is_stopped = False

    def stop(self) -> None:
        """End what is under way: nothing of it counts."""
        with self._lock:
            self._is_stopped = True
            for each in self._used:
                each.cut()

    def rest(self) -> None:
        """Give back what is kept for the next piece of work."""
        with self._lock:
            spare, self._spare = self._spare, []
        for each in spare:
            each.close()

    def erase(self, erasure: int, whose: Whose, also: Sequence[UUID], tell: Tell) -> None:
        """Take out their events, and those that are named, until no file has any more."""
        for _ in range(_ROUNDS_MAX):
            if not self._round(erasure, whose, also, tell):
                return
        raise Overtaken("the files of the archive change faster than they are made anew")

    def count(self, whose: Whose, also: Sequence[UUID] = ()) -> int:
        """Return how many of their events, and of those that are named, are in files."""
        with self._workspace() as workspace:
            directory, files = erasing.find(workspace, self._path, whose.app_id)
            found = (erasing.look(workspace, directory, each, whose, also) for each in files)
            return sum(len(each.events) for each in found)

    def sweep(self, app_id: int, grace_s: float) -> int:
        """Delete an app's files that count no more; return how many are left to later."""
        with self._workspace() as workspace:
            return patiently(lambda: erasing.sweep(workspace, self._path, app_id, grace_s))

    def _round(self, erasure: int, whose: Whose, also: Sequence[UUID], tell: Tell) -> bool:
        """Take out what is found; return whether there was any."""
        with self._workspace() as workspace:
            directory, files = erasing.find(workspace, self._path, whose.app_id)
            due: list[Due] = []
            for each in files:
                found = erasing.look(workspace, directory, each, whose, also)
                due += [found] if found.events else []
                if sum(len(one.events) for one in due) > _EVENTS_AT_ONCE:
                    break
            tell(0, len(due))
            for done, rewritten in enumerate(self._rewritten(directory, due), 1):
                self._replace(workspace, directory, erasure, rewritten)
                tell(done, len(due))
            return bool(due)

    def _rewritten(self, directory: Directory, due: Sequence[Due]) -> Iterator[Rewritten]:
        """Yield files that were written anew, as they come."""

        def rewrite(each: Due) -> Rewritten:
            with self._workspace() as workspace:
                return erasing.rewrite(workspace, directory, each)

        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="erasing")
        try:
            for each in as_completed([pool.submit(rewrite, each) for each in due]):
                yield each.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _replace(
        self, workspace: Workspace, directory: Directory, erasure: int, done: Rewritten
    ) -> None:
        """Have a file take the other's place, unless that was merged: the next round finds it."""
        if not patiently(lambda: erasing.replace(workspace, directory, erasure, done)):
            erasing.drop(directory, done)

    @contextmanager
    def _workspace(self) -> Iterator[Workspace]:
        with self._lock:
            found = self._spare.pop() if self._spare else None
        used = found or Workspace(self._url, self._bounds)
        with self._lock:
            self._used.append(used)
            if self._is_stopped:
                used.cut()
        is_good = False
        try:
            with used.judging():
                if self._is_stopped:
                    raise TimedOut("it was stopped")
                yield used
            is_good = True
        finally:
            with self._lock:
                self._used.remove(used)
                if is_good:
                    self._spare.append(used)
            if not is_good:
                used.close()
