"""Which day it is in a time zone, and how long it goes on."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_UTC: Final = "UTC"


class Calendar:
    """The days of one time zone; UTC's where this machine does not know the zone."""

    def __init__(self, zone: str = _UTC, clock: Callable[[], float] = time.time) -> None:
        self.zone = zone
        self._zone = _read(zone)
        self._clock = clock
        self._day = 0
        self._begins_s = self._ends_s = 0.0

    def today(self) -> int:
        """Return the day's number, as `date.toordinal` has it."""
        now_s = self._clock()
        if not self._begins_s <= now_s < self._ends_s:
            now = datetime.fromtimestamp(now_s, self._zone)
            begin = datetime(now.year, now.month, now.day, tzinfo=self._zone)
            # By the calendar: one day in spring has 23 hours.
            end = begin + timedelta(days=1)
            self._day = now.toordinal()
            # Where a clock goes back over midnight, a second midnight is behind now.
            self._begins_s = min(begin.timestamp(), now_s)
            self._ends_s = max(end.timestamp(), now_s + 1)
        return self._day

    def left_s(self) -> float:
        """Return how long today goes on."""
        self.today()
        return max(0.0, self._ends_s - self._clock())


def _read(zone: str) -> tzinfo:
    try:
        return UTC if zone == _UTC else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
