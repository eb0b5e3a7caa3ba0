"""The archiver: round after round in a thread of its own, for as long as its process lives.

A round finds the archive, takes what has settled, merges, and deletes what is nobody's. Trouble
ends it, is logged once, and puts the next one off; nothing of it reaches those who take events. Of
all servers one archives at a time; the others try again.
"""

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from ingest.archive import expiry, founding, manifest, merging, passes, state
from ingest.archive.directory import Directory, of_database, sweep_temporary
from ingest.archive.failures import (
    ArchiveTrouble,
    Damaged,
    NotHere,
    NotInstalled,
    Occupied,
    Overtaken,
)
from ingest.archive.portion import Portion
from ingest.archive.thread import in_thread
from ingest.archive.workspace import Bounds, Workspace

log = structlog.get_logger(__name__)

_BACKOFF_MIN_S: Final = 1.0
_BACKOFF_MAX_S: Final = 60.0
_MERGES_MAX: Final = 64
_EXPIRES_MAX: Final = 16
_TIMEOUT_S: Final = 60.0
_PASSING: Final = (Occupied, Overtaken, NotHere)


class Figures(NamedTuple):
    """What an archiver has done since it began, and how it is."""

    rows: int = 0
    passes: int = 0
    merges: int = 0
    failures: int = 0
    trouble: str = ""
    """Why the last round failed; empty if it did not."""


class Archiver:
    """Archives what comes in; one of all servers does it, whichever is first each time."""

    def __init__(
        self, url: str, path: Path, *, interval_s: float, memory_max: int, threads: int
    ) -> None:
        self._url = url
        self._path = path
        self._interval_s = interval_s
        self._bounds = Bounds(memory_max, threads, path)
        self._passed = Portion(passes.ROWS_MAX)
        self._merged = Portion(merging.FILE_ROWS_MAX)
        self._workspace: Workspace | None = None
        self._stopped = threading.Event()
        self._whole: set[str] = set()
        """Files whose checksums were compared."""
        self.figures = Figures()

    async def run(self) -> None:
        """Archive for ever; raise NotInstalled where what it needs is not there."""
        backoff_s = _BACKOFF_MIN_S
        while True:
            try:
                await in_thread("archiver", self.round, self.stop)
            except NotInstalled:
                raise
            except ArchiveTrouble as trouble:
                self._tell(trouble)
                await asyncio.sleep(min(backoff_s, max(self._interval_s, _BACKOFF_MIN_S)))
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
            else:
                self._recover()
                backoff_s = _BACKOFF_MIN_S
                await asyncio.sleep(self._interval_s)

    def stop(self) -> None:
        """End the round that is under way, from another thread: nothing of it counts."""
        self._stopped.set()
        if (workspace := self._workspace) is not None:
            workspace.cut()

    def round(self) -> None:
        """Archive, merge and tidy up once; raise ArchiveTrouble. Blocks."""
        workspace = self._workspace = Workspace(self._url, self._bounds)
        try:
            with workspace.judging():
                self._work(workspace)
        finally:
            self._workspace = None
            workspace.close()

    def _work(self, workspace: Workspace) -> None:
        directory, reason = founding.find(workspace, self._path, self._whole)
        if reason == founding.FIRST:
            log.info("an archive is begun")
        elif reason:
            log.warning("an archive is begun: everything is archived anew", reason=reason)
        self._scrub(workspace, directory)
        self._archive(workspace, directory)
        self._expire(workspace, directory)
        self._merge(workspace, directory)
        _tidy(workspace, self._path, directory)

    def _archive(self, workspace: Workspace, directory: Directory) -> None:
        """Take everything that had settled when it began, slice by slice."""
        is_last = False
        while not is_last and not self._stopped.is_set():
            passed = self._passed.do(partial(passes.archive, workspace, directory))
            is_last = passed.is_last
            done = self.figures
            self.figures = done._replace(rows=done.rows + passed.rows, passes=done.passes + 1)
            if passed.without:
                log.warning("archived without their parameters: too long", events=passed.without)
            if not is_last and passed.rows:
                log.info("archiving goes on", archived=self.figures.rows)

    def _expire(self, workspace: Workspace, directory: Directory) -> None:
        """Have go what is no longer kept, and so much at most."""
        files = 0
        for _ in range(_EXPIRES_MAX):
            done = 0 if self._stopped.is_set() else expiry.expire(workspace, directory)
            if not done:
                break
            files += done
        if files:
            log.info("what is no longer kept leaves the archive", files=files)

    def _merge(self, workspace: Workspace, directory: Directory) -> None:
        """Merge what is due, and so much at most."""
        work = partial(merging.merge, workspace, directory)
        for _ in range(_MERGES_MAX):
            if self._stopped.is_set() or not self._merged.do(work):
                break
            self.figures = self.figures._replace(merges=self.figures.merges + 1)

    def _scrub(self, workspace: Workspace, directory: Directory) -> None:
        """Compare one file with its checksum, another one each time."""
        with workspace.transaction(_TIMEOUT_S, commits=False):
            files = manifest.read_all(workspace)
        unseen = [each for each in files if each.name not in self._whole]
        if not unseen:
            self._whole.clear()
            return
        try:
            founding.require_whole(directory, unseen[0])
        except FileNotFoundError:
            return  # merged meanwhile by another process
        except Damaged as damaged:
            founding.begin(workspace, self._path, directory.place.name, self._whole)
            log.warning("an archive is begun: everything is archived anew", reason=str(damaged))
            raise
        self._whole.add(unseen[0].name)

    def _tell(self, trouble: ArchiveTrouble) -> None:
        reason = str(trouble)
        if reason != self.figures.trouble:
            level = log.info if isinstance(trouble, _PASSING) else log.warning
            level("archiving is put off", reason=reason, kind=type(trouble).__name__)
        self.figures = self.figures._replace(trouble=reason, failures=self.figures.failures + 1)

    def _recover(self) -> None:
        if self.figures.trouble:
            log.info("archiving goes on again")
            self.figures = self.figures._replace(trouble="")


def _tidy(workspace: Workspace, path: Path, directory: Directory) -> None:
    """Delete files that are nobody's, and archives of this database that were given up."""
    with workspace.transaction(_TIMEOUT_S, commits=True):
        passes.lock(workspace)
        found = state.read(workspace)
        passes.require(directory, found)
        gone = directory.sweep({each.name for each in manifest.read_all(workspace)})
        gone += sweep_temporary(path)
        for each in of_database(path, found.system_now):
            if each.place.name != found.archive_id and each.remove_deserted():
                gone.append(each.place.name)
    if gone:
        log.info("files that nobody needs were deleted from the archive", files=len(gone))
