"""The spool's directory: files of this process and those of processes that are gone, as one queue.

Used in one thread. `append` goes to the newest file; at an eighth of the cap another is begun, so
that a drain gives room back in steps. Which file is whose, `lock` says: what a dead process
left is adopted by whoever looks first, so nothing is stranded, however many processes run next. In
the files of the living, `neighbours`, only retries are looked for. For which database all of them
are, `owner` says: those of another one are left alone.

Somebody may delete files, or the directory, while they are used. It is made again, nothing that was
appended to a file without a name is acknowledged, and what such a file holds is put into another.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from ingest.events import copy_reader
from ingest.spool.batch import SpooledBatch
from ingest.spool.failures import FAILURES, SpoolFailed, SpoolFull, classify
from ingest.spool.figures import Figures
from ingest.spool.file import SpoolFile
from ingest.spool.held import HeldFiles
from ingest.spool.neighbours import Neighbours
from ingest.spool.notes import KeyNotes
from ingest.spool.orphans import Orphans
from ingest.spool.owner import Ownership
from ingest.spool.room import Need, SpoolRoom
from ingest.spool.search import Search, Searchable
from ingest.spool.storage import DedupKey, Entry, PlacedKey, Storage

log = structlog.get_logger(__name__)

FILES_MAX: Final = 64
"""So many files are held at once; what is beyond that is adopted when some of them are drained."""
LOOK_INTERVAL_S: Final = 3.0
"""So often every process looks for what dead ones left."""
STEP_S_MAX: Final = 0.25
"""Adopting, reading and searching end after so long, to go on at the next call: an append may be
waiting."""
_DELETIONS_MAX: Final = 3
"""An append is tried in so many files, should somebody delete one after the other."""


class SpoolDirectory:
    """All files that this process owns; `figures` may be read from any thread."""

    def __init__(
        self,
        path: Path,
        storage: Storage,
        notes: KeyNotes,
        *,
        bytes_max: int,
        free_bytes_min: int,
    ) -> None:
        self._path = path
        self._storage = storage
        self._notes = notes
        self._room = SpoolRoom(path, storage, bytes_max=bytes_max, free_bytes_min=free_bytes_min)
        self._ownership = Ownership(path, storage)
        self._orphans = Orphans(path, storage)
        self._neighbours = Neighbours(path, storage)
        self._files = HeldFiles()
        self._looked_s = 0.0
        self._ended_with_keys = 0
        """So many processes had ended with keys when the directory was looked at last."""
        self._on_their_way: dict[str, int] = {}
        """By file, up to which id batches were read lately."""
        self._recovered_events = 0
        self._damaged_before_events = 0
        self._trouble: SpoolFull | SpoolFailed | None = None
        self._refused_bytes = storage.append_bytes_max(1, 0)
        self.figures = Figures()

    @property
    def database_id(self) -> UUID | None:
        """Whose events they are; None as long as nobody has claimed the directory."""
        return self._ownership.database_id

    def open(self) -> None:
        """Make the directory and try it out; raise SpoolFailed if it is of no use.

        A full disk is no reason not to start: `has_room` tells of it.
        """
        try:
            self._ownership.open()
        except FAILURES as error:
            raise classify(error, stored=False) from error
        self._try_out()
        if isinstance(self._trouble, SpoolFailed):
            raise self._trouble
        self._look()
        self._publish()

    def claim(self, database_id: UUID) -> UUID:
        """Make the directory a database's unless it has one; return whose it is.

        Raises SpoolFull or SpoolFailed.
        """
        try:
            owner = self._ownership.claim(database_id)
        except FAILURES as error:
            raise classify(error, stored=False) from error
        self._look()
        self._publish()
        return owner

    def adopt(self) -> bool:
        """Take over files of dead processes for a while; return whether there are more."""
        stop_s = time.monotonic() + STEP_S_MAX
        while self._may_adopt() and time.monotonic() < stop_s:
            if file := self._orphans.adopt_oldest(self._notes):
                self._files.add(file)
                self._recovered_events += file.events + file.missing_events
                self._damaged_before_events += file.damaged_events - file.missing_events
            self._files.finish()
            self._files.close_idle()
        self._publish()
        self._notes.forget_ended(self._ended_with_keys)  # what they left counts as ours by now
        return self._may_adopt()

    def append(
        self, rows: Sequence[bytes], dedup_keys: Sequence[DedupKey], *, from_reserve: bool = False
    ) -> None:
        """Store a batch durably, with a key for each row or none; raise SpoolFull, SpoolFailed."""
        if dedup_keys:
            self._notes.note(has_keys=True)  # first: its retry may come to another process
        blob = b"".join(rows)
        size = (self._files.newest or self._storage).append_bytes_max(len(blob), len(dedup_keys))
        try:
            self._store(Need(size, from_reserve), blob, len(rows), _place(dedup_keys, rows))
        except (SpoolFull, SpoolFailed) as trouble:
            if not from_reserve or isinstance(trouble, SpoolFailed):
                self._refused_bytes = size
                self._note(trouble)
            raise
        else:
            if isinstance(self._trouble, SpoolFailed):
                self._note(None)
            self._recheck_room()
        finally:
            self._publish()

    def oldest(
        self, events_max: int, bytes_max: int, beyond: Mapping[str, int]
    ) -> list[SpooledBatch]:
        """Return the oldest batches: so many events and bytes at most, or one batch.

        Those of a file up to the id that `beyond` has for it are passed over.
        """
        self._look_around()
        batches: list[SpooledBatch] = []
        events, size = 0, 0
        stop_s = time.monotonic() + STEP_S_MAX
        for file, entry in self._files.entries(beyond):
            events += entry.events
            size += entry.bytes
            if batches and (events > events_max or size > bytes_max):
                break
            if batch := self._read(file, entry):
                batches.append(batch)
            if time.monotonic() > stop_s:
                break
        read = {batch.ref.file: batch.ref.id for batch in batches}
        self._on_their_way = dict(beyond) | read
        self._files.finish()
        self._files.close_idle()
        self._publish()
        return batches

    def search(self, dedup_keys: Sequence[DedupKey]) -> Search:
        """Return a search for `find`. May be called from any thread."""
        return Search(self._searched, self._complain, dedup_keys)

    def find(self, search: Search) -> bool:
        """Go on with a search for a while; return whether there is more to do."""
        is_unfinished = search.go_on(time.monotonic() + STEP_S_MAX)
        self._files.finish()
        self._files.close_idle()
        self._publish()
        return is_unfinished

    def remove(self, batches: Sequence[SpooledBatch]) -> None:
        """Forget batches, durably but for a file that failed: there in memory only."""
        gone: dict[str, dict[int, int]] = {}
        for batch in batches:
            gone.setdefault(batch.ref.file, {})[batch.ref.id] = len(batch.rows)
        self._files.remove(gone)
        self._files.finish()
        self._recheck_room()
        self._publish()

    def look_again(self) -> None:
        """See what others did: who is gone, and whether there is room.

        Who hears that there is no room sends nothing more, so no append would find out otherwise.
        """
        self._look()
        if self._trouble is not None:
            self._try_out()
        self.adopt()

    def tidy(self) -> None:
        """Do what nobody should have to wait for: checkpoints, and saving what was deleted."""
        for file in self._files:
            if file.is_overdue:
                try:
                    file.checkpoint()
                except FAILURES as error:
                    self._files.retire(file, error)
        self._save_deleted(time.monotonic() + STEP_S_MAX)
        self._files.finish()
        self._publish()

    def close(self) -> None:
        """Leave the files to whoever comes next, with what is in those that somebody deleted."""
        self._on_their_way = {}  # nobody brings anything any more
        self._files.notice_deleted()
        self._save_deleted(math.inf)
        self._files.release()

    def _searched(self) -> Iterator[Searchable]:
        """Yield the files in which keys may be, whoever owns them, the oldest first."""
        files: list[Searchable] = [*self._files.with_dedup_keys()]
        if self._notes.others_have_keys or self._orphans.are_left:
            files += self._neighbours.files(self._files, self._ownership.look)
        for file in sorted(files, key=attrgetter("name")):
            yield file
            self._files.close_idle()

    def _complain(self, name: str, error: BaseException) -> None:
        """Tell of a file that can't be searched now, unless it was drained meanwhile."""
        if name in self._files:
            self._files.complain(name, error)
        else:
            self._neighbours.complain(name, error)

    def _store(self, need: Need, blob: bytes, events: int, dedup_keys: Sequence[PlacedKey]) -> None:
        for _ in range(_DELETIONS_MAX):
            if self._append(self._prepare(need), blob, events, dedup_keys):
                return
        raise SpoolFailed(f"somebody deletes the files in {self._path}", stored=False)

    def _append(
        self, file: SpoolFile, blob: bytes, events: int, dedup_keys: Sequence[PlacedKey]
    ) -> bool:
        """Append to a file; return whether it is there to stay, and take the batch out if not."""
        before = file.events
        try:
            entry = file.append(blob, events, dedup_keys)
            if file.is_in_place:
                return True
        except FAILURES as error:
            self._recovered_events += file.events - before  # nobody is told that they are there
            self._files.retire(file, error)
            self._files.finish()
            raise classify(error, stored=None) from error
        self._files.leave(file)
        self._files.remove({file.name: {entry.id: events}})
        return False

    def _save_deleted(self, stop_s: float) -> None:
        """Put what deleted files hold into one that is there, until then."""
        for file in self._files.gone():
            try:
                for entry in file.entries():
                    if time.monotonic() > stop_s:
                        return
                    self._save(file, entry)
            except (SpoolFull, SpoolFailed, *FAILURES) as error:
                self._files.complain(file.name, error)

    def _save(self, file: SpoolFile, entry: Entry) -> None:
        """Move a batch, unless somebody is bringing it to Postgres."""
        if entry.id <= self._on_their_way.get(file.name, 0):
            return
        if (batch := file.read(entry)) is None:
            return
        keys = [*map(copy_reader.dedup_key, batch.rows)] if file.has_dedup_keys else []
        blob = b"".join(batch.rows)
        size = self._storage.append_bytes_max(len(blob), len(keys))
        self._store(Need(size, from_reserve=True), blob, entry.events, _place(keys, batch.rows))
        self._files.remove({file.name: {entry.id: entry.events}})

    def _prepare(self, need: Need) -> SpoolFile:
        """Return a file that may grow by so much; raise SpoolFull or SpoolFailed."""
        try:
            file = self._usable()
            if file is None:
                self._ownership.require()
            self._room.require(need, files=file is None)
            if file is None:
                file = SpoolFile.create(self._storage, self._path, self.database_id)
                self._files.add(file)
        except FAILURES as error:
            raise classify(error, stored=False) from error
        self._files.newest = file
        return file

    def _usable(self) -> SpoolFile | None:
        """Return the newest file, if it may be appended to further."""
        file = self._files.newest
        if file is not None and not self._path.is_dir():
            self._files.leave(file)
            return None
        if file is not None and not self._room.is_in(file):
            file.close()  # which does away with its log
            return None
        return file

    def _try_out(self) -> None:
        """Do all that an append does, but for the append."""
        try:
            self._prepare(Need(self._refused_bytes))
        except (SpoolFull, SpoolFailed) as trouble:
            self._note(trouble)
        else:
            self._note(None)
        self._files.finish()

    def _recheck_room(self) -> None:
        """See whether what was refused last would fit now."""
        if isinstance(self._trouble, SpoolFull) and self._room.has(Need(self._refused_bytes)):
            self._note(None)

    def _note(self, trouble: SpoolFull | SpoolFailed | None) -> None:
        """Remember whether anything can be appended, and log when that changes."""
        if type(trouble) is not type(self._trouble):
            if trouble is None:
                log.info("the spool takes events again")
            else:
                log.error("the spool takes no events", reason=str(trouble))
        self._trouble = trouble

    def _look_around(self) -> None:
        if time.monotonic() - self._looked_s >= LOOK_INTERVAL_S:
            self.look_again()
        else:
            self.adopt()

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        self._files.drop_lost()
        ended_with_keys = self._notes.ended_with_keys
        try:
            is_ours = self._ownership.look()
        except FAILURES as error:
            self._files.complain(self._path.name, error)
        else:
            if self._orphans.look(self._files, is_ours):
                self._ended_with_keys = ended_with_keys

    def _may_adopt(self) -> bool:
        return bool(self._orphans) and len(self._files) < FILES_MAX

    def _read(self, file: SpoolFile, entry: Entry) -> SpooledBatch | None:
        try:
            return file.read(entry)
        except FAILURES as error:
            self._files.complain(file.name, error)
            return None

    def _publish(self) -> None:
        files = self._files
        try:
            used_bytes, free_bytes = self._room.used_bytes, self._room.free_bytes
        except OSError:
            used_bytes, free_bytes = self.figures.bytes, self.figures.free_bytes
        oldest_ms = [file.oldest_ms for file in files if file.oldest_ms is not None]
        damaged_events = files.lost_events + sum(file.damaged_events for file in files)
        has_keys = self._orphans.are_left or any(file.has_dedup_keys for file in files)
        self._notes.note(has_keys=has_keys)
        self.figures = Figures(
            events=sum(file.events for file in files),
            bytes=used_bytes,
            free_bytes=free_bytes,
            oldest_ms=min(oldest_ms, default=None),
            damaged_events=damaged_events,
            recovered_events=self._recovered_events + files.unforeseen_events,
            newly_damaged_events=damaged_events - self._damaged_before_events,
            has_room=self._trouble is None,
            has_reserve=isinstance(self._trouble, SpoolFull)
            and self._room.has(Need(self._refused_bytes, from_reserve=True)),
            has_dedup_keys=has_keys,
            is_overdue=any(file.is_overdue or file.is_gone for file in files),
        )


def _place(dedup_keys: Sequence[DedupKey], rows: Sequence[bytes]) -> list[PlacedKey]:
    """Return where the rows of the keys will begin; without keys, nothing at no cost."""
    return list(zip(dedup_keys, accumulate(map(len, rows), initial=0), strict=False))
