"""Buckets: how much of its limits each app and key has used, as all processes of a server see it.

A subject, which is an app or a key, has a place: its bucket of events and its bucket of bytes. What
a process takes it notes in a cell of its own, and reads the cells of all others; so nobody waits
for anybody, nobody's note is lost, and one that is stopped in the middle of it changes nothing
behind the others' backs:

- `full_ns`: when the bucket will be full again. Who takes moves that on by as much time as what it
  takes needs to come back. What holds is the latest moment of all cells. (Token buckets are kept so
  as the "generic cell rate algorithm".) Two who take at the very same moment count as one: they do
  so some hundred times a second at most, in a microsecond each, and not for each request.
- `drawn`: all that a process has ever taken. What is used of a day is the sum over all, less what
  it was when the day began here, and with what other servers used, which one process looks up.

A cell outlives its process, and that process's successor goes on with it. A place that nobody has
wanted for a while is another subject's. All of it is numbers of eight bytes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from ingest.share.byte_lock import ByteLock

PLACES_MAX: Final = 1024
"""So many subjects share what they have between processes; of others, each process has its part."""
UNITS: Final = 2
"""Events, and bytes."""
UNWANTED_S: Final = 900
"""A place that nobody has wanted for so long is free."""

_SUBJECT, _WANTED_S, _DAY = range(3)
_BASE: Final = 3
_ELSEWHERE: Final = _BASE + UNITS
_SETTLED: Final = _ELSEWHERE + UNITS
_RATE: Final = _SETTLED + UNITS
_QUOTA: Final = _RATE + UNITS
_APP: Final = _QUOTA + UNITS
_HEAD: Final = 16
"""Numbers of a place before its cells; some are spare."""
_ROWS: Final = 2 * UNITS + 1
"""Of cells: `full_ns` and `drawn` of each unit, and what was refused."""
_HEADER_BYTES: Final = 64
"""Of all of them: its first byte is the one that is locked."""


def size(slots: int) -> int:
    """Return how many bytes it takes for so many slots."""
    return _HEADER_BYTES + PLACES_MAX * 8 * _numbers(slots)


def _numbers(slots: int) -> int:
    return _HEAD + _ROWS * slots


class Told(NamedTuple):
    """What a place says of its subject to people."""

    subject: int
    app_id: int
    refused: int
    """Requests, by all processes so far."""
    rates: tuple[int, ...]
    """Of each unit, a second; 0 for as much as comes."""
    quotas: tuple[int, ...]
    """And a day."""


class Bucket:
    """One unit of a place, as one process uses it."""

    __slots__ = ("_base", "_drawn", "_elsewhere", "_full", "_own", "_settled")

    def __init__(self, head: memoryview, unit: int, cells: memoryview, own: int) -> None:
        slots = len(cells) // _ROWS
        self._full = cells[unit * slots :][:slots]
        self._drawn = cells[(UNITS + unit) * slots :][:slots]
        self._base = head[_BASE + unit :][:1]
        self._elsewhere = head[_ELSEWHERE + unit :][:1]
        self._settled = head[_SETTLED + unit :][:1]
        self._own = own

    @property
    def full_ns(self) -> int:
        """When it will be full again, by the monotonic clock."""
        return max(self._full)

    def fill(self) -> None:
        """Have it full, as one is that fills at another rate from now on."""
        for slot in range(len(self._full)):
            self._full[slot] = 0

    def draw(self, amount: int, full_ns: int) -> None:
        """Note what this process takes, and when the bucket will be full after that."""
        self._full[self._own] = full_ns
        self._drawn[self._own] += amount

    @property
    def used_here(self) -> int:
        """What this server's processes have taken since the day began here."""
        return sum(self._drawn) - self._base[0]

    @property
    def used(self) -> int:
        """What all servers have used of the day, as far as that is known here."""
        return self.used_here + self._elsewhere[0]

    @property
    def unsettled(self) -> int:
        """What is used here of the day and not noted where all servers read it."""
        return self.used_here - self._settled[0]

    def settle(self, amount: int, total: int) -> None:
        """Note that so much was noted there, and what all servers have there now."""
        self._settled[0] += amount
        self._elsewhere[0] = total - self._settled[0]

    def begin_day(self) -> None:
        """Count from now on, as nothing is used of a new day."""
        self._base[0] = sum(self._drawn)
        self._elsewhere[0] = self._settled[0] = 0


class Place:
    """What one subject has used, as one process sees it."""

    def __init__(self, memory: memoryview, own: int, lock: ByteLock | None) -> None:
        self._head = memory[:_HEAD]
        cells = memory[_HEAD:]
        self.units = tuple(Bucket(self._head, unit, cells, own) for unit in range(UNITS))
        self._refused = cells[2 * UNITS * (len(cells) // _ROWS) :]
        self._own = own
        self._lock = lock

    @classmethod
    def alone(cls) -> "Place":
        """Return one that no other process sees."""
        return cls(memoryview(bytearray(8 * _numbers(1))).cast("q"), 0, None)

    @property
    def is_shared(self) -> bool:
        """Whether all processes of the server see it."""
        return self._lock is not None

    @property
    def day(self) -> int:
        """Of which day what is used is counted."""
        return self._head[_DAY]

    def begin_day(self, day: int) -> None:
        """Count for a day from now on, unless somebody does already or just now."""
        with self._locked() as is_locked:
            if is_locked:
                self._begin_day(day)

    def _begin_day(self, day: int) -> None:
        if self.day == day:
            return
        for unit in self.units:
            unit.begin_day()
        self._head[_DAY] = day  # last: who dies before it is followed by another one

    def hold_to(self, app_id: int, rates: Sequence[int], quotas: Sequence[int]) -> None:
        """Have buckets fill at these rates, one for each unit; and tell whose they are.

        Whoever hears of another rate first fills the bucket: what is owed is a time, and would be
        another amount.
        """
        with self._locked() as is_locked:
            if not is_locked:
                return
            for unit, (rate, quota) in enumerate(zip(rates, quotas, strict=True)):
                if rate != self._head[_RATE + unit]:
                    self.units[unit].fill()
                    self._head[_RATE + unit] = rate
                self._head[_QUOTA + unit] = quota
            self._head[_APP] = app_id

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        if self._lock is None:
            yield True
            return
        with self._lock.held() as is_locked:
            yield is_locked

    def refuse(self, count: int) -> None:
        """Count requests that were refused."""
        self._refused[self._own] += count

    @property
    def told(self) -> Told:
        """What it says of its subject."""
        return Told(
            self._head[_SUBJECT],
            self._head[_APP],
            sum(self._refused),
            tuple(self._head[_RATE:_QUOTA]),
            tuple(self._head[_QUOTA:_APP]),
        )

    def want(self, now_s: int) -> None:
        """Keep it; to be said now and then."""
        self._head[_WANTED_S] = now_s


class Buckets:
    """The places of all subjects of a server."""

    def __init__(self, memory: memoryview, descriptor: int, offset: int, slots: int) -> None:
        self._lock = ByteLock(descriptor, offset)
        self._numbers = memory[_HEADER_BYTES:].cast("q")
        self._size = _numbers(slots)

    def place(self, subject: int, own: int, now_s: int) -> Place | None:
        """Return a subject's place for the process of a slot; None if there is none, or not now.

        A subject is a number other than 0, the same in all processes.
        """
        number = self._find(subject)
        # One that is not wanted any more may just be given to another subject.
        if number is None or self._memory(number)[_WANTED_S] < now_s - UNWANTED_S:
            with self._lock.held() as is_locked:
                number = self._give(subject, now_s) if is_locked else None
        if number is None:
            return None
        return Place(self._memory(number), own, self._lock)

    def told(self) -> Sequence[Told]:
        """Return what those places say of which something was refused."""
        slots = (self._size - _HEAD) // _ROWS
        return [
            Place(memory, 0, None).told
            for number, subject in enumerate(self._all(_SUBJECT))
            if subject and any((memory := self._memory(number))[-slots:])
        ]

    def _give(self, subject: int, now_s: int) -> int | None:
        """Return a subject's place, or one that nobody wants; to be done under the lock."""
        number = self._find(subject)
        if number is None:
            number = self._find_free(now_s)
            if number is None:
                return None
            memory = self._memory(number)
            memory[:] = memoryview(bytes(8 * len(memory))).cast("q")
            memory[_SUBJECT] = subject
        self._memory(number)[_WANTED_S] = now_s
        return number

    def _find(self, subject: int) -> int | None:
        try:
            return self._all(_SUBJECT).index(subject)
        except ValueError:
            return None

    def _find_free(self, now_s: int) -> int | None:
        places = zip(self._all(_SUBJECT), self._all(_WANTED_S), strict=True)
        return next(
            (
                number
                for number, (subject, wanted_s) in enumerate(places)
                if not subject or wanted_s < now_s - UNWANTED_S
            ),
            None,
        )

    def _all(self, number: int) -> list[int]:
        found: list[int] = self._numbers[number :: self._size].tolist()
        return found

    def _memory(self, number: int) -> memoryview:
        return self._numbers[number * self._size : (number + 1) * self._size]
