"""A meter: counts what an app, or a key, sends against its limits, in one process.

It takes a little more from the bucket that all processes share than is asked for, which is its
lease: so most events cost it two comparisons and two subtractions, and read neither a clock nor
anybody else's memory. Whoever comes while something is left is let in, with all that it brings: a
batch that is larger than the bucket is owed for, and until that has come back the others wait. So a
limit holds on average whatever the size of batches; within any time more than it comes by one
burst, one lease of each process, and one batch.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ingest.errors import Code, Refusal
from ingest.metering.calendar import Calendar
from ingest.metering.rate_limits import RateLimits
from ingest.metering.unit import LOOK_NS, Over, Unit
from ingest.share.buckets import Place


class Subject(NamedTuple):
    """Whose limits they are: an app's, or those of one of its keys."""

    app_id: int
    key_id: int = 0
    """0 for the app's own."""

    @property
    def number(self) -> int:
        """One for both, never 0, as shared memory has it."""
        return self.key_id << 1 | 1 if self.key_id else self.app_id << 1

    @property
    def words(self) -> str:
        """What it is called to who sends."""
        return "API key" if self.key_id else "app"


class Allowance(Protocol):
    """What decides whether a request may send."""

    @property
    def app_id(self) -> int:
        """Whose it is."""

    def take(self, events: int, size: int) -> bool:
        """Count events and the bytes of their body; return False if they are to be refused."""

    def is_open(self) -> bool:
        """Return False if a request is to be refused before its body is read."""

    def refusal(self) -> Refusal:
        """Return what is said to who was refused last."""


class Meter:
    """Of one subject. Not for several threads."""

    __slots__ = (
        "_bytes",
        "_bytes_lease",
        "_clock_ns",
        "_events",
        "_events_lease",
        "_refused",
        "_sharers",
        "_shut_until_ns",
        "app_id",
        "bytes_left",
        "calendar",
        "events_left",
        "limits",
        "place",
        "subject",
    )

    def __init__(
        self,
        subject: Subject,
        place: Place,
        processes: int,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Be one of so many processes, which share the place, or have a part of each limit."""
        self.subject = subject
        self.app_id = subject.app_id
        self.place = place
        self.limits = RateLimits()
        self.calendar = Calendar()
        self._sharers = processes
        self._clock_ns = clock_ns
        self._refused = 0
        """Requests that were refused, and are not noted yet."""
        self._adopt(self.limits)

    def hold_to(self, limits: RateLimits, calendar: Calendar) -> None:
        """Have these limits from now on; what was used of a day counts."""
        if (limits, calendar.zone) == (self.limits, self.calendar.zone):
            return
        self.limits, self.calendar = limits, calendar
        own = limits if self.place.is_shared else limits.part(self._sharers)
        rates = (own.events_per_second or 0, own.bytes_per_second or 0)
        quotas = (own.events_per_day or 0, own.bytes_per_day or 0)
        self.place.hold_to(self.app_id, rates, quotas)
        self._adopt(own)

    def _adopt(self, limits: RateLimits) -> None:
        events, size = self.place.units
        by_second, by_day = limits.events_per_second, limits.events_per_day
        self._events = Unit("events", events, by_second, limits.burst, by_day)
        by_second, by_day = limits.bytes_per_second, limits.bytes_per_day
        self._bytes = Unit("bytes", size, by_second, None, by_day)
        sharers = self._sharers if self.place.is_shared else 1
        self.events_left = 0 if self._events.is_limited else math.inf
        """What is left of the lease; never below 0."""
        self.bytes_left = 0 if self._bytes.is_limited else math.inf
        self._events_lease = self._events.lease_max(sharers) if self._events.is_limited else 0
        self._bytes_lease = self._bytes.lease_max(sharers) if self._bytes.is_limited else 0
        self._shut_until_ns = 0
        """Until then there is nothing, whoever asks."""

    def take(self, events: int, size: int) -> bool:
        """Count events and the bytes of their body; return False if they are to be refused."""
        if events <= self.events_left and size <= self.bytes_left:
            self.events_left -= events
            self.bytes_left -= size
            return True
        return self._draw(events, size)

    def is_open(self) -> bool:
        """Return False if a request is to be refused before its body is read."""
        if self.events_left >= 1 and self.bytes_left >= 1:
            return True
        return self._look(self._clock_ns()) is not None or self._refuse()

    def may_take(self, events: int, size: int) -> bool:
        """Return what `take` would, without taking anything."""
        return (events <= self.events_left and size <= self.bytes_left) or self.is_open()

    def _draw(self, events: int, size: int) -> bool:
        now_ns = self._clock_ns()
        available = self._look(now_ns)
        if available is None:
            return self._refuse()
        for_events, for_bytes = available
        self.events_left = self._lease(
            self._events, events, self.events_left, for_events, self._events_lease, now_ns
        )
        self.bytes_left = self._lease(
            self._bytes, size, self.bytes_left, for_bytes, self._bytes_lease, now_ns
        )
        return True

    def _look(self, now_ns: int) -> tuple[int, int] | None:
        """Return what there is of events and bytes beside the lease; None if nothing is left."""
        if now_ns < self._shut_until_ns:
            return None
        self.begin_day()
        found = []
        for unit, left in ((self._events, self.events_left), (self._bytes, self.bytes_left)):
            available = unit.available(now_ns) if unit.is_limited else 0
            if left + available < 1:
                self._shut_until_ns = now_ns + min(LOOK_NS, unit.wait_ns(now_ns))
                return None
            found.append(available)
        return found[0], found[1]

    def begin_day(self) -> None:
        """Have what is used of a day be of today."""
        if self.limits.has_day and self.place.day != (today := self.calendar.today()):
            self.place.begin_day(today)

    def _lease(
        self, unit: Unit, amount: int, left: float, available: int, lease_max: int, now_ns: int
    ) -> float:
        """Take an amount, of what is left first; return what is left then."""
        if amount <= left:
            return left - amount
        short = amount - int(left)
        sharers = self._sharers if self.place.is_shared else 1
        lease = max(0, min(lease_max, (available - short) // sharers))
        unit.draw(short + lease, now_ns)
        return lease

    def _refuse(self) -> bool:
        self._refused += 1
        return False

    def note(self) -> None:
        """Once a second: note what was refused where all processes see it."""
        if self._refused:
            self.place.refuse(self._refused)
            self._refused = 0

    def refusal(self) -> Refusal:
        """Return what is said to who was refused just now."""
        now_ns, day_s = self._clock_ns(), self.calendar.left_s() if self.limits.has_day else 0.0
        units = [each for each in (self._events, self._bytes) if each.is_limited]
        overs = (each.over(now_ns, day_s) for each in units)
        over = next((each for each in overs if each is not None), None)
        return _refusal(self.subject, over)


def _refusal(subject: Subject, over: Over | None) -> Refusal:
    # There may be something again by now.
    amount, words, wait_s = over or Over(0, "", 0.0)
    seconds = max(1, math.ceil(wait_s))
    limit = f"{amount:,} {words}" if over else "no more just now"
    told = f"This {subject.words} may send {limit}; send it again in {seconds} s."
    refusal = Refusal(Code.TOO_MANY_REQUESTS, told)
    refusal.headers |= {
        "Retry-After": str(seconds),
        "RateLimit-Limit": str(amount),
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": str(seconds),
    }
    return refusal
