"""The range of a page's question: a usual one that moves on with time, or from one day to another.

A page's address has the first kind as `last`, which a saved view keeps, and the other as `from` and
`to`: all as the query API has them. All days are those of the question's zone, and the last one
belongs to the range as people say it: whoever asks up to Monday sees Monday's events.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from multidict import MultiDict

from ingest.api import ranges as api
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
    query = MultiDict(visit.request.query)
    if not any(query.get(name) for name in PARAMETERS):
        query["last"] = usual
    given = Parameters(query, set(query))
    zone = given.zone(visit.app.timezone)
    start, end = api.bounded(given, zone, datetime.now(UTC))
    return Range(given.one("last") or "", start, end, zone)


def usual(visit: Visit, last: str) -> Range:
    """Return a usual range in the app's zone, whatever a page's address says."""
    given = Parameters(MultiDict(last=last), ("last",))
    zone = ZoneInfo(visit.app.timezone)
    return Range(last, *api.bounded(given, zone, datetime.now(UTC)), zone)


def written(moment: datetime, zone: ZoneInfo) -> str:
    """Return a time as an address has it: a day where one begins."""
    local = moment.astimezone(zone)
    is_day = local == _beginning(local.date(), zone) and not local.fold  # it may come twice
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


def _beginning(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise invalid(name, "write a day as 2026-01-31") from None
