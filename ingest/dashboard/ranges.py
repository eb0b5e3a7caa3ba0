"""The range of a page's question: a usual one that moves on with time, or from one day to another.

A page's address has the first kind as `range`, which a saved view keeps, and the other as `from`
and `to` of the query API. All days are those of the question's zone, and the last one belongs to
the range as people say it: whoever asks up to Monday sees Monday's events.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from multidict import MultiDict

from ingest.api.parameters import Parameters
from ingest.api.refusals import invalid
from ingest.dashboard.routes import Visit

PARAMETER: Final = "range"
USUAL: Final = "30d"
_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)
_MONTHS: Final = 12
_ALL_DAYS: Final = 3_653


class Preset(NamedTuple):
    """A usual range: so many days or months, today among them."""

    title: str
    days: int = 0
    months: int = 0


PRESETS: Final[Mapping[str, Preset]] = {
    "today": Preset("Today", days=1),
    "7d": Preset("7 days", days=7),
    "30d": Preset("30 days", days=30),
    "90d": Preset("90 days", days=90),
    "12m": Preset("12 months", months=_MONTHS),
    "all": Preset("All", days=_ALL_DAYS),
}
"""`all` goes back ten years."""


class Range(NamedTuple):
    """From when on, and until when (itself not), as clocks show it in a zone."""

    name: str
    """Of the preset; empty for any other."""
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
        if self.name == "all":
            return "the last ten years"
        start, end = self.start.astimezone(self.zone), self.end.astimezone(self.zone)
        if start.time() == end.time() == time():
            first, last = str(self.first_day), str(self.last_day)
            return first if first == last else f"{first} to {last}"
        is_of_a_day = start.date() == end.date()
        return f"{start:%Y-%m-%d %H:%M} to {end:{'%H:%M' if is_of_a_day else '%Y-%m-%d %H:%M'}}"

    def query(self, query: Mapping[str, str]) -> MultiDict[str]:
        """Return a page's query as the query API has it: this range in the place of the page's."""
        asked = MultiDict(query)
        for name in (PARAMETER, "from", "to"):
            asked.popall(name, None)
        asked.add("from", self.start.isoformat())
        asked.add("to", self.end.isoformat())
        return asked


def read(visit: Visit, usual: str = USUAL) -> Range:
    """Return the range of a page; that of a preset where its address has none. Raises Refused."""
    query = visit.request.query
    given = Parameters(query, set(query))
    zone = given.zone(visit.app.timezone)
    end, start = given.time("to", zone), given.time("from", zone)
    name = given.choice(PARAMETER, tuple(PRESETS), usual)
    if start is None and end is None:
        today = datetime.now(UTC).astimezone(zone).date()
        return Range(
            name, _beginning(_first(today, PRESETS[name]), zone), _after(today, zone), zone
        )
    return _of_days(start, end, PRESETS[usual], zone)


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


def _of_days(start: datetime | None, end: datetime | None, usual: Preset, zone: ZoneInfo) -> Range:
    try:
        end = end or _after(datetime.now(UTC).astimezone(zone).date(), zone)
        last = (end - _INSTANT).astimezone(zone).date()
        start = start or _beginning(_first(last, usual), zone)
    except (OverflowError, ValueError):
        raise invalid("to", "it is too early") from None
    if start >= end:
        raise invalid("to", "it must be later than from")
    return Range("", start, end, zone)


def _first(last: date, preset: Preset) -> date:
    """Return the first day of a range by its last one."""
    if preset.days:
        return last - (preset.days - 1) * _DAY
    months = last.year * _MONTHS + last.month - preset.months
    return date(months // _MONTHS, months % _MONTHS + 1, 1)


def _beginning(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _after(day: date, zone: ZoneInfo) -> datetime:
    return _beginning(day + _DAY, zone)


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise invalid(name, "write a day as 2026-01-31") from None
