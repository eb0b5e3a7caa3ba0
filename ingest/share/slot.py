"""A slot: what one process tells the other processes of its server, and is told of them.

Single numbers are written by themselves, one store each. What has to agree with each other, the
figures, is one record, and so is what was refused lately.
"""

import os
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from ingest.share.record import Record
from ingest.share.refusals import RefusedOf

WORDS: Final = 8
"""Numbers of each slot: a cache line, so that workers do not slow each other."""


class Word(IntEnum):
    """Which of them is what."""

    WORKER = 0
    PID = 1
    HEARTBEAT = 2
    CONNECTIONS = 3
    IS_POSTGRES_UP = 4
    HAS_SPOOLED_KEYS = 5
    KEYS_GENERATION = 6
    """The one that stays when the slot is given to another process."""


class Figures(msgspec.Struct, array_like=True, frozen=True):
    """What a process publishes; all of it as of one moment."""

    counts: Sequence[int] = ()
    """What only ever grows. Whole numbers, since sums of fractions depend on their order: a counter
    would go down by the last bit when a process's are put to those of processes that are gone."""
    left: Sequence[int] = ()
    """What is counted as left if the process ends now: see `Segment.retire`."""
    gauges: Sequence[float] = ()
    insights: Sequence[float] = ()
    """Gauges of the insights process, which has none of those of workers."""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Figures)
_REFUSALS: Final = msgspec.msgpack.Decoder(Sequence[RefusedOf])
NOTHING: Final = Figures()


class Slot:
    """One place in a segment. Its worker writes; everybody reads."""

    def __init__(self, index: int, words: memoryview, record: Record, refusals: Record) -> None:
        self.index = index
        self._words = words
        self._record = record
        self._refusals = refusals

    def reset(self, worker: int) -> None:
        """Make it one of a process that has said nothing yet, of a worker."""
        for each in (Word.PID, Word.HEARTBEAT, Word.CONNECTIONS, Word.IS_POSTGRES_UP):
            self._words[each] = 0
        self._words[Word.HAS_SPOOLED_KEYS] = 0
        self._words[Word.WORKER] = worker
        self._record.write(b"")
        self._refusals.write(b"")

    def enter(self) -> None:
        """Make it this process's."""
        self._words[Word.PID] = os.getpid()

    @property
    def worker(self) -> int:
        """The number of its worker, from 0."""
        return self._words[Word.WORKER]

    @property
    def pid(self) -> int:
        """The number of its process; 0 before `enter`."""
        return self._words[Word.PID]

    def beat(self) -> None:
        """Say that the process's loop still goes round; to be said several times a second."""
        self._words[Word.HEARTBEAT] += 1

    @property
    def heartbeat(self) -> int:
        """How many times it has said so."""
        return self._words[Word.HEARTBEAT]

    def publish(self, figures: Figures) -> None:
        """Replace the figures; the counts of a process always have the same places."""
        self._record.write(_ENCODER.encode(figures))

    @property
    def figures(self) -> Figures:
        """What was published last."""
        value = self._record.read()
        return _DECODER.decode(value) if value else NOTHING

    def publish_refusals(self, refusals: Sequence[RefusedOf]) -> None:
        """Replace what was refused lately; the first of them go where there is no room for all."""
        value = _ENCODER.encode(refusals)
        while len(value) > self._refusals.bytes_max:
            refusals = refusals[1:]
            value = _ENCODER.encode(refusals)
        self._refusals.write(value)

    @property
    def refusals(self) -> Sequence[RefusedOf]:
        """What was published last of them."""
        value = self._refusals.read()
        return _REFUSALS.decode(value) if value else ()

    @property
    def connections(self) -> int:
        """How many connections of clients are open; the segment adds up what the server has."""
        return self._words[Word.CONNECTIONS]

    @connections.setter
    def connections(self, count: int) -> None:
        self._words[Word.CONNECTIONS] = count

    @property
    def is_postgres_up(self) -> bool:
        """Whether the process can write to Postgres."""
        return bool(self._words[Word.IS_POSTGRES_UP])

    @is_postgres_up.setter
    def is_postgres_up(self, is_up: bool) -> None:
        self._words[Word.IS_POSTGRES_UP] = is_up

    @property
    def has_spooled_keys(self) -> bool:
        """Whether a dedup key may be in the process's files of the spool."""
        return bool(self._words[Word.HAS_SPOOLED_KEYS])

    @has_spooled_keys.setter
    def has_spooled_keys(self, has_keys: bool) -> None:
        self._words[Word.HAS_SPOOLED_KEYS] = has_keys

    def raise_keys_generation(self) -> None:
        """Have all processes see that the API keys have changed."""
        self._words[Word.KEYS_GENERATION] += 1
