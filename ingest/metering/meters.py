"""The meters of one process: of every app and key that has limits."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import structlog

from ingest.metering.calendar import Calendar
from ingest.metering.meter import Allowance, Meter, Subject
from ingest.metering.pair import Pair
from ingest.metering.rate_limits import RateLimits
from ingest.share.buckets import PLACES_MAX, Place
from ingest.share.member import Member

log = structlog.get_logger(__name__)

_NOTE_S: Final = 1.0
_READ_TIMEOUT_S: Final = 2.0
"""So long whoever reads keys waits for the disk that has the time zones."""


class Held(NamedTuple):
    """What a subject is held to."""

    limits: RateLimits
    zone: str
    """In which its days begin."""


class Meters:
    """Makes them, keeps them while the keys are read anew, and forgets those that nobody needs."""

    def __init__(self, member: Member) -> None:
        self._buckets = member.segment.buckets
        self._slot = member.slot.index
        self._workers = member.segment.workers
        self._meters: dict[Subject, Meter] = {}
        self._calendars: dict[str, Calendar] = {}
        """By zone; there are some hundred in all."""
        self._utc = Calendar()
        """Until another zone is known."""
        self._reading: asyncio.Future[dict[str, Calendar]] | None = None
        self._has_room = True
        """Whether there may be a place for one more: thousands are not looked for in vain."""
        self._is_full_told = False

    async def learn(self, wanted: Mapping[Subject, Held]) -> None:
        """Read from disk what is known of time zones, before what `hold` needs of it.

        A disk that hangs holds nobody up: days are UTC's until a later time finds them read.
        """
        zones = {each.zone for each in wanted.values()} - self._calendars.keys()
        if not zones:
            return
        if self._reading is None:  # one at a time: each may hang
            self._reading = asyncio.get_running_loop().run_in_executor(None, _calendars, zones)
        done, _ = await asyncio.wait((self._reading,), timeout=_READ_TIMEOUT_S)
        if done:
            self._calendars |= self._reading.result()
            self._reading = None
        else:
            log.warning("the disk with the time zones hangs: days are UTC's meanwhile")

    def hold(self, wanted: Mapping[Subject, Held]) -> None:
        """Have these subjects, and no others, held to their limits; `learn` comes first."""
        self._has_room = True
        self._meters = {
            subject: self._hold(subject, held) for subject, held in wanted.items() if held.limits
        }
        self._tell_if_full()

    def of(self, app_id: int, key_id: int) -> Allowance | None:
        """Return what decides over requests with a key of an app; None if nothing does."""
        found = [
            meter
            for subject in dict.fromkeys((Subject(app_id, key_id), Subject(app_id)))
            if (meter := self._meters.get(subject)) is not None
        ]
        return Pair(*found) if len(found) > 1 else found[0] if found else None

    @property
    def by_day(self) -> list[Meter]:
        """Those with a limit by the day that other servers can know of."""
        return [
            each for each in self._meters.values() if each.limits.has_day and each.place.is_shared
        ]

    async def run(self) -> None:
        """Note for ever what was refused, and that the places in shared memory are wanted."""
        while True:
            await asyncio.sleep(_NOTE_S)
            self.note()

    def note(self) -> None:
        """Note it now."""
        now_s = _now_s()
        for each in self._meters.values():
            each.note()
            each.place.want(now_s)

    def _hold(self, subject: Subject, held: Held) -> Meter:
        meter = self._meters.get(subject)
        if meter is None or not meter.place.is_shared:
            meter = Meter(subject, self._place(subject, meter), self._workers)
        meter.hold_to(held.limits, self._calendars.get(held.zone, self._utc))
        return meter

    def _place(self, subject: Subject, before: Meter | None) -> Place:
        """Return its place in shared memory; where there is no room, one of this process alone."""
        found = None
        if self._has_room:
            found = self._buckets.place(subject.number, self._slot, _now_s())
            self._has_room = found is not None
        return found or (before.place if before else Place.alone())

    def _tell_if_full(self) -> None:
        apart = sum(not each.place.is_shared for each in self._meters.values())
        if apart and not self._is_full_told:
            log.warning(
                "too many apps and keys have limits: of these each worker has an even part",
                apart=apart,
                places=PLACES_MAX,
            )
        self._is_full_told = bool(apart)


def _calendars(zones: Iterable[str]) -> dict[str, Calendar]:
    return {zone: Calendar(zone) for zone in zones}


def _now_s() -> int:
    return int(time.monotonic())
