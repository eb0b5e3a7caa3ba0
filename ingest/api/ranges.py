"""Ranges of time as addresses have them: half open, in a zone. Raise Refused.

`from` and `to` are moments. `last` is so many hours, days or months of the calendar, of which the
one that is not over is the last: `7d` is today and the six days before. It moves on with time.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from ingest.api.parameters import Parameters
from ingest.api.refusals import invalid

NAMES: Final = ("from", "to", "last", "timezone")
_USUAL: Final = timedelta(days=30)
_LAST: Final = re.compile(r"([1-9][0-9]{0,3})(h|d|mo)", re.ASCII)
_DAY: Final = timedelta(days=1)
_MONTHS: Final = 12

Ends = tuple[datetime | None, datetime | None]


def read(given: Parameters, zone: ZoneInfo, now: datetime) -> Ends:
    """Return from when on and until when; None for what is not said."""
    start, end, last = given.time("from", zone), given.time("to", zone), given.one("last")
    if last is not None:
        if start or end:
            raise invalid("last", "it takes the place of from and to")
        return _last(last, zone, now)
    if start and end and start >= end:
        raise invalid("to", "it must be later than from")
    return start, end


def bounded(given: Parameters, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """Return a range with both ends: usually the last 30 days, up to the end of today."""
    start, end = read(given, zone, now)
    end = end or _midnight(_tomorrow(zone, now), zone)
    if start is None:
        try:
            start = end - _USUAL
        except OverflowError:
            raise invalid("to", "it is too early") from None
    if start >= end:
        raise invalid("to", "it must be later than from")
    return start, end


def _last(text: str, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    found = _LAST.fullmatch(text)
    if found is None:
        raise invalid("last", "write a number and a unit of h, d, mo, as 24h, 30d, 12mo")
    count, unit = int(found[1]), found[2]
    if unit == "h":
        return _hours(count, zone, now)
    until = _tomorrow(zone, now)
    today = until - _DAY
    try:
        since = _first_of(today, count) if unit == "mo" else until - count * _DAY
    except (OverflowError, ValueError):
        raise invalid("last", "it is too long") from None
    return _midnight(since, zone), _midnight(until, zone)


def _hours(count: int, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """Return so many hours of the zone's clock; counted in UTC, as one may come twice."""
    clock = now.astimezone(zone)
    into = timedelta(minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)
    end = now.astimezone(UTC) - into + timedelta(hours=1)
    return (end - timedelta(hours=count)).astimezone(zone), end.astimezone(zone)


def _first_of(day: date, months: int) -> date:
    """Return the first day of so many months of which that of a day is the last."""
    count = day.year * _MONTHS + day.month - months
    return date(count // _MONTHS, count % _MONTHS + 1, 1)


def _tomorrow(zone: ZoneInfo, now: datetime) -> date:
    return now.astimezone(zone).date() + timedelta(days=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)
