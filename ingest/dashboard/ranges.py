"""The range of a page's question: a usual one that moves on with time, or from one day to another.

A page's address has the first kind as `last`, which a saved view keeps, and the other as `from` and
`to`: all as the query API has them. All days are those of the question's zone, and the last one
belongs to the range as people say it: whoever asks up to Monday sees Monday's events.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from multidict import MultiDict

from ingest.api.parameters import Parameters
from ingest.api.refusals import invalid
from ingest.dashboard.routes import Visit

PARAMETERS: Final = ("last", "from", "to")
USUAL: Final = "30d"
PRESETS: Final[Mapping[str, str]] = {
    "1d": "Today",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "12mo": "12 months",
    "120mo": "All",
}
"""Usual ones, by what `last` is, and what they are called."""
_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)
_LAST: Final = re.compile(r"([1-9][0-9]{0,3})(h|d|mo)", re.ASCII)
_MONTHS: Final = 12
_HOUR: Final = timedelta(hours=1)


class Range(NamedTuple):
    """From when on, and until when (itself not), as clocks show it in a zone."""

    last: str
    """As an address has it; empty where the ends are said."""
    start: datetime
    end: datetime
    zone: ZoneInfo

    @property
    def first_day(self) -> date:
        """The day with its first moment."""
        return self.start.astimezone(self.zone).date()

    @property
    def last_day(self) -> date:
        """The day with its last one."""
        return (self.end - _INSTANT).astimezone(self.zone).date()

    @property
    def words(self) -> str:
        """The range as it is said, without its zone."""
        start, end = self.start.astimezone(self.zone), self.end.astimezone(self.zone)
        if start.time() == end.time() == time():
            first, last = str(self.first_day), str(self.last_day)
            return first if first == last else f"{first} to {last}"
        is_of_a_day = start.date() == end.date()
        return f"{start:%Y-%m-%d %H:%M} to {end:{'%H:%M' if is_of_a_day else '%Y-%m-%d %H:%M'}}"

    def query(self, query: Mapping[str, str]) -> MultiDict[str]:
        """Return a page's query as the query API has it: this range in the place of the page's."""
        asked = MultiDict(query)
        for name in PARAMETERS:
            asked.popall(name, None)
        asked.add("from", self.start.isoformat())
        asked.add("to", self.end.isoformat())
        return asked


def read(visit: Visit, usual: str = USUAL) -> Range:
    """Return the range of a page, or the usual one (as `last`) where it has none; raise Refused."""
    query = visit.request.query
    given = Parameters(query, set(query))
    zone = given.zone(visit.app.timezone)
    end, start, last = given.time("to", zone), given.time("from", zone), given.one("last")
    now = datetime.now(UTC).astimezone(zone)
    if start is None and end is None:
        return Range(last or usual, *_last(last or usual, now), zone)
    if last is not None:
        raise invalid("last", "it takes the place of from and to")
    end = end or _beginning(now.date() + _DAY, zone)
    start = start or _before(end, usual)
    if start >= end:
        raise invalid("to", "it must be later than from")
    return Range("", start, end, zone)


def written(moment: datetime, zone: ZoneInfo) -> str:
    """Return a time as an address has it: a day where one begins."""
    local = moment.astimezone(zone)
    is_day = local == _beginning(local.date(), zone)
    return str(local.date()) if is_day else local.isoformat()


def to_days(first: str, last: str) -> list[tuple[str, str]]:
    """Return what an address has for a range from one day to another; raise Refused."""
    days = [("from", str(_day("from", first)))] if first else []
    if not last:
        return days
    try:
        return [*days, ("to", str(_day("to", last) + _DAY))]
    except OverflowError:
        raise invalid("to", "it is too late") from None


def _last(text: str, now: datetime) -> tuple[datetime, datetime]:
    """Return the range that a `last` means."""
    found, zone = _LAST.fullmatch(text), now.tzinfo
    if found is None or not isinstance(zone, ZoneInfo):
        raise invalid("last", "write a number and a unit of h, d, mo, as 24h, 30d, 12mo")
    count = int(found[1])
    try:
        tomorrow = now.date() + _DAY
        match found[2]:
            case "h":
                end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
                return end - (count - 1) * _HOUR, end + _HOUR
            case "d":
                first = tomorrow - count * _DAY
            case _:
                months = now.year * _MONTHS + now.month - count
                first = date(months // _MONTHS, months % _MONTHS + 1, 1)
    except (OverflowError, ValueError):
        raise invalid("last", "it is too long") from None
    return _beginning(first, zone), _beginning(tomorrow, zone)


def _before(end: datetime, usual: str) -> datetime:
    try:
        return _last(usual, end - _INSTANT)[0]
    except OverflowError:
        raise invalid("to", "it is too early") from None


def _beginning(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise invalid(name, "write a day as 2026-01-31") from None
