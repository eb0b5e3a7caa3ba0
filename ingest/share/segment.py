"""The segment: the memory that all processes of one server share.

The supervisor makes it and hands its descriptor to the workers; it goes with the last of them. It
has a slot for each process, and some more, as a worker's successor is there before the worker has
gone. The insights process has the number behind the last worker's. Only the supervisor gives slots
out and takes them back; a process writes its own.

What a process has counted stays when it has gone: `retire` adds it to what the ended ones counted.
Which slots count, and what the ended ones have, is one record, the ledger: whoever reads all slots
looks at the ledger before and behind, and begins again if it was changed. So nobody sees a process
in both, or in neither. Layout: header, a line of numbers for each slot, labels, buckets, ledger,
slots.
"""

import mmap
import os
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Final, NamedTuple

import msgspec

from ingest import __version__
from ingest.errors import StartupError
from ingest.share import buckets, labels
from ingest.share.buckets import Buckets
from ingest.share.labels import Labels
from ingest.share.record import Record
from ingest.share.refusals import RefusedOf
from ingest.share.slot import WORDS, Figures, Slot, Word

WORKERS_MAX: Final = 512
_SLOTS_SPARE: Final = 2
_HEADER_BYTES: Final = 64
_WORDS_BYTES: Final = WORDS * 8
_SLOT_BYTES: Final = 32 * 1024
_REFUSALS_BYTES: Final = 32 * 1024
_LEDGER_BYTES: Final = 64 * 1024
_MAGIC: Final = int.from_bytes(f"{__version__:.>8}"[-8:].encode())
"""Another version's processes would count other things in the same places."""
_MAGIC_AT, _WORKERS, _MADE_US, _MAKER, _ENDED_WITH_KEYS, _FORGOTTEN = range(6)
_TRIES_MAX: Final = 64


class Live(NamedTuple):
    """What a process that has not ended has published."""

    worker: int
    pid: int
    figures: Figures


class Reading(NamedTuple):
    """What all processes have published, as of one moment; each process's as of its own."""

    ended: Figures
    """The sum of those that have ended; no gauges."""
    live: Sequence[Live]
    restarts: Sequence[int]
    """How often each worker was replaced without a plan."""
    insights_restarts: int
    """And how often the insights process was."""

    @property
    def counts(self) -> list[int]:
        """What all have counted since the server's start; none of it ever goes down."""
        return add([self.ended.counts, *(each.figures.counts for each in self.live)])


class _Ledger(msgspec.Struct, array_like=True):
    workers: dict[int, int]
    """The worker of each slot that is taken."""
    ended: Figures
    restarts: list[int]


class Segment:
    """Numbers and records in shared memory. To be used from one thread of each process."""

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        """Closed when nobody uses the memory any more."""
        self.workers = workers
        count = _slots(workers)
        mapped = mmap.mmap(descriptor, _size(workers))
        weakref.finalize(mapped, os.close, descriptor)
        places = _Places(memoryview(mapped))
        self._header = places.next(_HEADER_BYTES).cast("Q")
        self._words = places.next(count * _WORDS_BYTES).cast("Q")
        offset = places.at
        self.labels = Labels(places.next(labels.BYTES), descriptor, offset)
        offset = places.at
        self.buckets = Buckets(places.next(buckets.size(count)), descriptor, offset, count)
        self._ledger = Record(places.next(_LEDGER_BYTES))
        self.slots = tuple(
            Slot(
                index,
                self._words[index * WORDS : (index + 1) * WORDS],
                Record(places.next(_SLOT_BYTES)),
                Record(places.next(_REFUSALS_BYTES)),
            )
            for index in range(count)
        )
        self._last = Reading(Figures(), (), (0,) * workers, 0)

    @classmethod
    def create(cls, workers: int) -> "Segment":
        """Make one for so many workers; raise StartupError where there is no memory for it."""
        if not 0 < workers <= WORKERS_MAX:
            raise StartupError(f"server.workers can be {WORKERS_MAX} at most")
        descriptor = _memory_file()
        try:
            os.posix_fallocate(descriptor, 0, _size(workers))
        except OSError as error:
            os.close(descriptor)
            raise StartupError(f"no memory for the workers to share: {error.strerror}") from error
        segment = cls(descriptor, workers)
        header = segment._header
        header[_WORKERS], header[_MAKER] = workers, os.getpid()
        header[_MADE_US] = time.time_ns() // 1_000
        header[_MAGIC_AT] = _MAGIC
        return segment

    @classmethod
    def attach(cls, descriptor: int) -> "Segment":
        """Use one that another process has made; raise StartupError unless it is of our version."""
        os.set_inheritable(descriptor, False)
        header = memoryview(os.pread(descriptor, _HEADER_BYTES, 0)).cast("Q")
        if header[_MAGIC_AT] != _MAGIC:
            raise StartupError("the server was started by another version: restart it")
        return cls(descriptor, header[_WORKERS])

    @property
    def insights(self) -> int:
        """The number of the insights process, where workers have theirs."""
        return self.workers

    @property
    def maker(self) -> int:
        """The number of the process that has made it."""
        return self._header[_MAKER]

    @property
    def made_s(self) -> float:
        """When it was made: the server's start, as a Unix time."""
        return self._header[_MADE_US] / 1_000_000

    def take_slot(self, worker: int) -> int:
        """Return a slot for a new process of a worker; raise RuntimeError if all are taken."""
        ledger = self._read_ledger()
        index = next((each for each in range(len(self.slots)) if each not in ledger.workers), None)
        if index is None:
            raise RuntimeError("every slot is taken")
        self.slots[index].reset(worker)
        ledger.workers[index] = worker
        self._write_ledger(ledger)
        return index

    def retire(self, index: int, *, is_planned: bool = False) -> None:
        """Free the slot of a process that has ended, and keep what it has counted.

        Without a plan it is a restart of its worker. What it has `left` is kept as well, and
        whether it had dedup keys in the spool.
        """
        freed, ledger = self.slots[index], self._read_ledger()
        figures, worker = freed.figures, ledger.workers.pop(index)
        ledger.ended = Figures(
            add([ledger.ended.counts, figures.counts]), add([ledger.ended.left, figures.left])
        )
        ledger.restarts[worker] += not is_planned
        if freed.has_spooled_keys:
            self._header[_ENDED_WITH_KEYS] += 1
        self._write_ledger(ledger)
        freed.reset(worker)

    def heartbeat(self, index: int) -> int:
        """Return a number that a process raises as long as its loop goes round."""
        return self.slots[index].heartbeat

    @property
    def is_postgres_up(self) -> bool:
        """Whether every worker can write to Postgres; False while there is none that can."""
        numbers = self._read_ledger().workers
        taken = [index for index, number in numbers.items() if number != self.insights]
        return bool(taken) and all(self.slots[index].is_postgres_up for index in taken)

    @property
    def connections(self) -> int:
        """The open connections of clients to all processes."""
        return sum(self._all(Word.CONNECTIONS))

    @property
    def keys_generation(self) -> int:
        """How often a process has said that the API keys have changed; only ever grows."""
        return sum(self._all(Word.KEYS_GENERATION))

    def has_spooled_keys(self, besides: int) -> bool:
        """Whether a process but one may have dedup keys in its files of the spool.

        Or whether one has ended with some, until `forget_ended_with_keys`.
        """
        keys = self._all(Word.HAS_SPOOLED_KEYS)
        keys[besides] = 0
        return any(keys) or self._header[_ENDED_WITH_KEYS] > self._header[_FORGOTTEN]

    @property
    def ended_with_keys(self) -> int:
        """How many processes have ended so far that had dedup keys in their files."""
        return self._header[_ENDED_WITH_KEYS]

    def forget_ended_with_keys(self, count: int) -> None:
        """Forget the first so many of them: others have their files.

        Of two that forget at once, who has seen fewer may win: the rest is forgotten next time.
        """
        self._header[_FORGOTTEN] = max(count, self._header[_FORGOTTEN])

    def read(self) -> Reading:
        """Return what all processes have published.

        Should the ledger change again and again meanwhile, what was read here last.
        """
        for _ in range(_TRIES_MAX):
            sequence, ledger = self._ledger.sequence, self._read_ledger()
            live = [self._live(index, worker) for index, worker in ledger.workers.items()]
            if self._ledger.sequence == sequence:
                *restarts, insights_restarts = ledger.restarts
                self._last = Reading(ledger.ended, live, restarts, insights_restarts)
                break
        return self._last

    def refusals(self) -> Sequence[tuple[int, RefusedOf]]:
        """Return what living processes have refused lately, by app, with each one's slot."""
        taken = self._read_ledger().workers
        return [(index, each) for index in taken for each in self.slots[index].refusals]

    def _live(self, index: int, worker: int) -> Live:
        found = self.slots[index]
        return Live(worker, found.pid, found.figures)

    def _all(self, word: Word) -> list[int]:
        numbers: list[int] = self._words[word::WORDS].tolist()
        return numbers

    def _read_ledger(self) -> _Ledger:
        value = self._ledger.read()
        if not value:
            return _Ledger({}, Figures(), [0] * (self.workers + 1))
        return msgspec.msgpack.decode(value, type=_Ledger)

    def _write_ledger(self, ledger: _Ledger) -> None:
        self._ledger.write(msgspec.msgpack.encode(ledger))


def add(counts: Sequence[Sequence[int]]) -> list[int]:
    """Return the sums of counts, place by place; those of no counts are none."""
    return [sum(each) for each in zip_longest(*counts, fillvalue=0)]


class _Places:
    """Cuts memory into one place behind the other."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self.at = 0

    def next(self, size: int) -> memoryview:
        """Return the next so many bytes."""
        start, self.at = self.at, self.at + size
        return self._memory[start : self.at]


def _slots(workers: int) -> int:
    return 2 * (workers + 1) + _SLOTS_SPARE


def _size(workers: int) -> int:
    slots = _slots(workers)
    fixed = _HEADER_BYTES + labels.BYTES + buckets.size(slots) + _LEDGER_BYTES
    return fixed + slots * (_WORDS_BYTES + _SLOT_BYTES + _REFUSALS_BYTES)


def _memory_file() -> int:
    """Return a file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        with suppress(OSError):  # a sandbox may forbid it
            return os.memfd_create("nonito", os.MFD_CLOEXEC)
    import tempfile  # noqa: PLC0415 - where it is not needed it costs the supervisor 1 MB

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
