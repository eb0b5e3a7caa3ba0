"""The spool: when Postgres is away, batches go to the local disk, and are fsynced before a 202.

`append` returns once its batch is on the disk. A replayer takes the `oldest` batches, stores them
in Postgres, and then has them removed; a batch that was removed is never returned again, also not
after a crash. `file.py` and `directory.py` say how.

All disk work is done in one thread of the spool's own; the event loop only waits for it, and never
for longer than `timeout_s`. What becomes of work that was begun and took longer is unknown: a batch
whose sender was told that it may or may not be stored may yet get into the spool, and counts as
recovered then. While the disk does not answer at all, everything further is refused at once, and
certainly not stored.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog

from ingest.errors import StartupError
from ingest.spool.batch import SpooledBatch
from ingest.spool.directory import LOOK_INTERVAL_S, SpoolDirectory
from ingest.spool.failures import SpoolFailed, SpoolFull
from ingest.spool.formats import STORAGE
from ingest.spool.notes import KeyNotes, NoOthers
from ingest.spool.room import RESERVE_PART
from ingest.spool.storage import DedupKey, Storage

__all__ = ["Spool", "SpoolFailed", "SpoolFull", "SpooledBatch"]

log = structlog.get_logger(__name__)

T = TypeVar("T")
Row = bytes  # a COPY tuple, as `copy_format.row` makes it

OLDEST_BYTES_MAX: Final = 8 * 1024 * 1024
NOWHERE: Final[Mapping[str, int]] = MappingProxyType({})


def _nothing() -> None:
    """Do nothing."""


class Spool:
    """One process's part of a spool directory. To be used from one event loop."""

    def __init__(
        self,
        directory: Path,
        storage: Storage = STORAGE,
        notes: KeyNotes | None = None,
        *,
        bytes_max: int,
        free_bytes_min: int,
        timeout_s: float,
    ) -> None:
        """Use a directory; `notes` is what the processes of one server tell one another."""
        self._path = directory
        self._notes = notes or NoOthers()
        self._directory = SpoolDirectory(
            directory, storage, self._notes, bytes_max=bytes_max, free_bytes_min=free_bytes_min
        )
        self._reserve_bytes = bytes_max // RESERVE_PART
        self._timeout_s = timeout_s
        self._thread: _Thread | None = None
        self._overdue: Future[Any] | None = None
        self._late_events = 0

    @property
    def database_id(self) -> UUID | None:
        """Whose events they are: known once it is open, if somebody has claimed the directory."""
        return self._directory.database_id

    @property
    def events(self) -> int:
        """How many events wait in this process's files to be replayed."""
        return self._directory.figures.events

    @property
    def is_empty(self) -> bool:
        """Whether none waits."""
        return not self.events

    @property
    def oldest_s(self) -> float:
        """How long the oldest batch has been waiting; 0 when none does."""
        oldest_ms = self._directory.figures.oldest_ms
        return 0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000)

    @property
    def damaged_events(self) -> int:
        """How many were quarantined since the start, or earlier in a file that is still here.

        A file of which nothing can be read counts as one.
        """
        return self._directory.figures.damaged_events

    @property
    def recovered_events(self) -> int:
        """How many were found that no `append` has told of; only ever grows.

        In files that other processes left, appended after their caller had been told that this is
        unknown, or in a file whose own count was too low.
        """
        return self._directory.figures.recovered_events + self._late_events

    @property
    def newly_damaged_events(self) -> int:
        """How many turned out to be damaged since they were appended or found."""
        return self._directory.figures.newly_damaged_events

    @property
    def has_room(self) -> bool:
        """Whether the last append succeeded, or would by what has been seen since."""
        return self._directory.figures.has_room and not self._is_hung

    @property
    def has_reserve(self) -> bool:
        """Whether it is full but for the reserve."""
        return self._directory.figures.has_reserve and not self._is_hung

    @property
    def reserve_bytes(self) -> int:
        """How large the reserve is, of the whole directory."""
        return self._reserve_bytes

    @property
    def has_dedup_keys(self) -> bool:
        """Whether `find` may find anything, here or where others noted keys; costs nothing."""
        return self._directory.figures.has_dedup_keys or self._notes.others_have_keys

    @property
    def bytes(self) -> int:
        """What the whole directory takes on the disk, also what belongs to other processes."""
        return self._directory.figures.bytes

    @property
    def free_bytes(self) -> int:
        """What is free on its disk, for us."""
        return self._directory.figures.free_bytes

    async def watch(self) -> None:
        """Look for ever at what others do there: what they take, and what they leave in dying."""
        while True:
            with suppress(SpoolFailed):  # said elsewhere, to those who need the disk
                await self._do(self._directory.look_again)
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def open(self) -> None:
        """Try the directory out and adopt what was left there; raise StartupError if that fails."""
        self._thread = _Thread("spool")
        try:
            await self._do(self._directory.open)
            while await self._do(self._directory.adopt):
                pass
        except SpoolFailed as failed:
            await self.close()
            raise StartupError(self._explain(failed)) from failed

    async def claim(self, database_id: UUID) -> UUID:
        """Make the directory a database's unless it has one; return whose it is, from now on.

        Raises SpoolFull or SpoolFailed.
        """
        return await self._do(lambda: self._directory.claim(database_id))

    async def append(
        self,
        rows: Sequence[Row],
        dedup_keys: Sequence[DedupKey] | None = None,
        *,
        from_reserve: bool = False,
    ) -> None:
        """Store a batch; it is on the disk when this returns. Raises SpoolFull or SpoolFailed.

        With `from_reserve` it may use what is kept for those who have little there.
        With `dedup_keys`, one for each row, the rows are there for `find` from that moment on.
        """
        keys = dedup_keys or ()
        if keys and len(keys) != len(rows):
            raise ValueError(f"{len(keys)} keys for {len(rows)} rows")
        if rows:
            late = partial(self._count_late, len(rows))
            await self._do(
                lambda: self._directory.append(rows, keys, from_reserve=from_reserve), late
            )
            self._tidy()

    async def find(self, dedup_keys: Sequence[DedupKey]) -> dict[DedupKey, list[Row]]:
        """Return the events of those keys that wait in the spool, whoever has it, the oldest first.

        Of each its first row; an id has one event, an Idempotency-Key may have one a day.

        A file that can't be read for the moment is logged and passed over, so that it stops nobody:
        a row that is missed is stored once all the same, by the merge at its replay. Raises
        SpoolFailed, also when it takes longer than `timeout_s` in all.
        """
        if not dedup_keys or not self.has_dedup_keys:
            return {}
        search = self._directory.search(dedup_keys)
        stop_s = time.monotonic() + self._timeout_s
        while await self._do(lambda: self._directory.find(search)):
            if time.monotonic() > stop_s:
                raise SpoolFailed("the search took too long", stored=False)
        return search.found

    async def oldest(
        self,
        events_max: int,
        bytes_max: int = OLDEST_BYTES_MAX,
        beyond: Mapping[str, int] = NOWHERE,
    ) -> list[SpooledBatch]:
        """Return the oldest batches, so many events and bytes at most, or one batch if it is more.

        `beyond` tells by files which batches are passed over: those up to an id. So what is on its
        way, or can't be brought anywhere now, is read past.

        Every few seconds it also looks for what dead processes left, as `watch` does. None returned
        does not mean that the spool is empty: what is left may be unreadable for the moment. Raises
        SpoolFailed.
        """
        return await self._do(lambda: self._directory.oldest(events_max, bytes_max, beyond))

    async def remove(
        self, batches: Sequence[SpooledBatch], note: Callable[[], None] = _nothing
    ) -> None:
        """Forget batches; that is durable when this returns. Raises SpoolFailed.

        Then `note` is called, also where that succeeds when nobody waits for it any more.
        Only in a file that failed it is remembered in memory until the file is deleted: a crash
        before that brings its batches back, to be replayed once more.
        """
        await self._do(lambda: self._directory.remove(batches), note)
        note()
        self._tidy()

    async def close(self) -> None:
        """Leave the files to the next process. Raises nothing; a hung disk is not waited for."""
        if self._thread is None:
            return
        try:
            await self._do(self._directory.close)
        except SpoolFailed as failed:
            log.warning("the spool was not closed in good order", reason=failed.reason)
        self._thread.stop()
        self._thread = None

    @property
    def _is_hung(self) -> bool:
        return self._overdue is not None and not self._overdue.done()

    def _tidy(self) -> None:
        """Have the checkpoints done behind the answer; the next append waits for them."""
        if self._thread is not None and self._directory.figures.is_overdue:
            self._thread.submit(self._directory.tidy).add_done_callback(_report)

    async def _do(self, work: Callable[[], T], late: Callable[[], None] = _nothing) -> T:
        """Have work done in the thread and return its result; raise SpoolFailed in time.

        Should it succeed when nobody waits for it any more, `late` is called.
        """
        if self._thread is None:
            raise SpoolFailed("the spool is closed", stored=False)
        if self._is_hung:
            raise SpoolFailed("the disk does not answer", stored=False)
        job = self._thread.submit(work)
        outcome = asyncio.wrap_future(job)
        outcome.add_done_callback(_look_at)
        try:
            await asyncio.wait((outcome,), timeout=self._timeout_s)
        except asyncio.CancelledError:
            outcome.add_done_callback(partial(_note, late))
            raise
        if outcome.done():
            return outcome.result()
        if job.cancel():
            raise SpoolFailed("the disk was busy for too long", stored=False)
        self._overdue = job
        outcome.add_done_callback(partial(_note, late))
        raise SpoolFailed("the disk did not answer in time", stored=None)

    def _count_late(self, events: int) -> None:
        self._late_events += events

    def _explain(self, failed: SpoolFailed) -> str:
        cause = failed.__cause__
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__
        why = (cause and cause.strerror) or failed.reason
        return (
            f"can't use the spool directory {self._path}: {why}; set spool.path to a directory on "
            "a local disk that this user may write to"
        )


class _Thread:
    """Does one thing after the other. A daemon: a disk that hangs can't keep the process alive."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._jobs = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have work done; whoever submits bounds how much there is."""
        job: Future[T] = Future()
        self._jobs.put((job, work))
        return job

    def stop(self) -> None:
        """End behind the work that was submitted."""
        self._jobs.put(None)

    def _run(self) -> None:
        while item := self._jobs.get():
            _perform(*item)
            del item  # not to hold a batch until the next one comes


def _perform(job: Future[Any], work: Callable[[], Any]) -> None:
    if not job.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
        job.set_exception(error)
    else:
        job.set_result(result)


def _note(late: Callable[[], None], outcome: asyncio.Future[Any]) -> None:
    if not outcome.cancelled() and outcome.exception() is None:
        late()


def _look_at(outcome: asyncio.Future[Any]) -> None:
    """Take note of an exception that nobody waits for any more; it was logged where it arose."""
    if not outcome.cancelled():
        outcome.exception()


def _report(job: Future[None]) -> None:
    """Log what went wrong where nobody waits."""
    if not job.cancelled() and (error := job.exception()):
        log.error("the spool could not be tidied", exc_info=error)
