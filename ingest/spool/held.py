"""The files of the spool that this process owns: which of them is written, and which are open."""

import heapq
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Final

import structlog

from ingest.spool.failures import FAILURES, describe
from ingest.spool.file import SpoolFile
from ingest.spool.storage import Entry

log = structlog.get_logger(__name__)

OPEN_FILES_MAX: Final = 4
"""So many files, besides the newest, stay open; the others keep the descriptor of their lock."""


class HeldFiles:
    """Files by their names. No method raises what `FAILURES` lists."""

    def __init__(self) -> None:
        self._files: dict[str, SpoolFile] = {}
        self._complaints: set[str] = set()
        self.newest: SpoolFile | None = None
        """The one that is appended to."""
        self.lost_events = 0
        """In files that were kept as damaged."""
        self._unforeseen_events = 0
        """In files that are not held any more."""

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[SpoolFile]:
        return iter(self._files.values())

    def __contains__(self, name: object) -> bool:
        return name in self._files

    @property
    def unforeseen_events(self) -> int:
        """How many left a file, or are lost in it, that nobody had counted before."""
        return self._unforeseen_events + sum(file.unforeseen_events for file in self)

    def add(self, file: SpoolFile) -> None:
        """Hold a file."""
        self._files[file.name] = file

    def with_dedup_keys(self) -> list[SpoolFile]:
        """Return the files in which a dedup key may be, the oldest first."""
        return sorted((file for file in self if file.has_dedup_keys), key=lambda file: file.name)

    def entries(self, beyond: Mapping[str, int]) -> Iterator[tuple[SpoolFile, Entry]]:
        """Yield the batches of all files, the oldest first, but those up to an id by file."""
        queues = [self._entries_of(file, beyond.get(file.name, 0)) for file in self]
        for _, file, entry in heapq.merge(*queues, key=itemgetter(0)):
            if entry is not None:
                yield file, entry

    def retire(self, file: SpoolFile, error: BaseException) -> None:
        """Write no more to a file that failed."""
        file.fail(error)
        if file is self.newest:
            self.newest = None

    def leave(self, file: SpoolFile) -> None:
        """Write no more to a file that somebody deleted; keep it open, and so what it holds."""
        if not file.is_gone:
            log.error("a file of the spool was deleted by somebody else", file=file.name)
        file.is_gone = True
        if file is self.newest:
            self.newest = None

    def gone(self) -> list[SpoolFile]:
        """Return the files that somebody deleted and in which something is left."""
        return [file for file in self if file.is_gone and file.events]

    def notice_deleted(self) -> None:
        """See which files somebody deleted that nobody has appended to since."""
        for file in self:
            try:
                if file.is_open and file.is_writable and not file.is_in_place:
                    self.leave(file)
            except FAILURES as error:
                self.complain(file.name, error)

    def drop_lost(self) -> None:
        """Be rid of files that somebody deleted and that can't be read any more.

        But for those in which nothing is left: they may be gone as `finish` has failed half-way.
        """
        for file in [each for each in self if each.oldest_ms is not None]:
            try:
                if file.is_lost:
                    self._drop(file)
            except FAILURES as error:
                self.complain(file.name, error)

    def _drop(self, file: SpoolFile) -> None:
        _tell_lost(file)
        self.lost_events += file.events + file.damaged_events
        self.leave(file)
        self._forget(file)  # first: what is released is not to be released again
        file.release()

    def finish(self) -> None:
        """Be rid of files in which nothing is left."""
        for file in [each for each in self if each.oldest_ms is None]:
            if file is self.newest:
                self.newest = None
            counted = file.events + file.damaged_events
            try:
                lost = file.finish()
                self.lost_events += lost
                self._unforeseen_events += max(0, lost - counted)
                self._forget(file)
            except FAILURES as error:
                self.complain(file.name, error)

    def _forget(self, file: SpoolFile) -> None:
        self._unforeseen_events += file.unforeseen_events
        del self._files[file.name]

    def close_idle(self) -> None:
        """Close all files but the newest and those that are read next."""
        opened = [file for file in self if file.is_open and not file.is_gone]
        opened.sort(key=lambda file: (file is not self.newest, file.oldest_ms or 0))
        for file in opened[OPEN_FILES_MAX + 1 :]:
            file.close()

    def remove(self, batches: Mapping[str, Mapping[int, int]]) -> None:
        """Forget batches of some files, given by their ids with how many events each has."""
        held = [name for name in batches if name in self._files]
        for name in held:
            try:
                self._files[name].remove(batches[name])
            except FAILURES as error:
                self.complain(name, error)

    def release(self) -> None:
        """Leave all of them to whoever comes next."""
        for file in self:
            if file.is_gone and file.events:
                _tell_lost(file)
            try:
                file.release()
            except FAILURES as error:
                self.complain(file.name, error)
        self._files.clear()
        self.newest = None

    def complain(self, name: str, error: BaseException) -> None:
        """Log what will be tried again, once for each of the files that are held."""
        self._complaints &= self._files.keys()
        if name not in self._complaints:
            self._complaints.add(name)
            log.error("a file of the spool can't be used now", file=name, reason=describe(error))

    def _entries_of(
        self, file: SpoolFile, after_id: int
    ) -> Iterator[tuple[int, SpoolFile, Entry | None]]:
        if file.oldest_ms is None:
            return
        yield file.oldest_ms, file, None  # a file is opened when its turn comes, not before
        try:
            for entry in file.entries(after_id):
                yield entry.appended_ms, file, entry
            file.refresh()
        except FAILURES as error:
            self.complain(file.name, error)


def _tell_lost(file: SpoolFile) -> None:
    log.error("what a file of the spool held is lost", file=file.name, events=file.events)
