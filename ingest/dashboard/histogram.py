"""How many events there are in each bucket of a range: bars, and the table behind them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, get_args
from zoneinfo import ZoneInfo

from ingest.api.refusals import invalid
from ingest.dashboard import ranges
from ingest.dashboard.ranges import Range
from ingest.dashboard.routes import Visit
from ingest.insights.answers import TrendsAnswer
from ingest.insights.calendar import buckets
from ingest.insights.questions import Interval

INTERVALS: Final[Sequence[Interval]] = get_args(Interval)
BARS_MAX: Final = 400
HEIGHT: Final = 100.0
"""Of the highest bar; the others are as high as they have events."""
_LENGTHS: Final[Mapping[Interval, timedelta]] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
_UP_TO: Final[Sequence[tuple[timedelta, Interval]]] = (
    (timedelta(days=8), "hour"),
    (timedelta(days=100), "day"),
    (timedelta(days=800), "week"),
)
"""How long a range is cut so, unless somebody wants it otherwise."""
_LEAST: Final = 1.0
"""So high a bar is seen; one of no event is none."""
_TICKS: Final = 5
_LABELS: Final[Mapping[Interval, str]] = {
    "hour": "%Y-%m-%d %H:%M",
    "day": "%Y-%m-%d, %a",
    "week": "Week from %Y-%m-%d",
    "month": "%Y-%m",
}
_SHORT: Final[Mapping[Interval, str]] = {
    "hour": "%m-%d %H:%M",
    "day": "%m-%d",
    "week": "%Y-%m-%d",
    "month": "%Y-%m",
}


Narrowed = Callable[[str, str], str]
"""Where the events from one time to another are, of two times as an address has them."""


class Bar(NamedTuple):
    """One bucket."""

    start: datetime
    end: datetime
    label: str
    events: int
    height: float
    link: str
    """To its events alone."""
    is_partial: bool
    """The range has a part of it, or it is not over."""


class Histogram(NamedTuple):
    """All of them."""

    bars: Sequence[Bar]
    total: int
    most: int
    interval: Interval
    ticks: Sequence[str]
    """What stands below: of the first bar, of some between, and of the last one."""
    intervals: Sequence[Interval]
    """By what the range may be cut."""


def interval_of(visit: Visit, chosen: Range) -> Interval:
    """Return by what the range of a page is cut; raise Refused."""
    wanted = visit.request.query.get("interval", "")
    fitting = fitting_intervals(chosen)
    for each in INTERVALS:
        if each == wanted and each not in fitting:
            raise invalid("interval", f"there is room for {BARS_MAX} bars; take a shorter range")
        if each == wanted:
            return each
    if wanted:
        raise invalid("interval", f"write one of {', '.join(INTERVALS)}")
    length = chosen.end - chosen.start
    for longest, each in _UP_TO:
        if length <= longest:
            return each
    return "month"


def fitting_intervals(chosen: Range) -> list[Interval]:
    """Return by what a range may be cut: whatever has some bars, and not too many."""
    length = chosen.end - chosen.start
    found = [each for each in INTERVALS if length / _LENGTHS[each] <= BARS_MAX]
    return [each for each in found if _LENGTHS[each] <= length] or found[:1]


def of(chosen: Range, interval: Interval, answer: TrendsAnswer, narrowed: Narrowed) -> Histogram:
    """Return the bars of the first series of an answer."""
    series = answer.series[0]
    counts = [int(value or 0) for value in series.values]
    most = max(counts, default=0)
    edges = buckets(chosen.start, chosen.end, interval, chosen.zone).edges
    last = len(counts) - 1
    bars = [
        Bar(
            start,
            end,
            start.astimezone(chosen.zone).strftime(_LABELS[interval]),
            count,
            max(_LEAST, count / most * HEIGHT) if count else 0.0,
            narrowed(*_within(chosen, start, end)),
            (place == 0 and answer.partial_first) or (place == last and answer.partial_last),
        )
        for place, (count, start, end) in enumerate(zip(counts, edges[:-1], edges[1:], strict=True))
    ]
    ticks = _ticks([bar.start for bar in bars], _SHORT[interval], chosen.zone)
    fitting = fitting_intervals(chosen)
    return Histogram(bars, int(series.total or 0), most, interval, ticks, fitting)


def _within(chosen: Range, start: datetime, end: datetime) -> tuple[str, str]:
    """Return the range of a bar as an address has it, as far as it lies in that of the page."""
    first = ranges.written(max(start, chosen.start), chosen.zone)
    return first, ranges.written(min(end, chosen.end), chosen.zone)


def _ticks(starts: Sequence[datetime], form: str, zone: ZoneInfo) -> list[str]:
    count = min(_TICKS, len(starts))
    places = [round(n * (len(starts) - 1) / max(1, count - 1)) for n in range(count)]
    return [starts[place].astimezone(zone).strftime(form) for place in places]
