"""Trends as they are seen: a line for each series, and the table behind the chart.

Of very many figures a page shows those of the greatest series; the CSV has all of them.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ingest.api import figures, records
from ingest.api.records import Records
from ingest.dashboard import ranges
from ingest.dashboard.query import Pairs, short
from ingest.dashboard.views.before import period_before
from ingest.dashboard.views.behind import Behind, who
from ingest.dashboard.views.view import Values, View, Wanted, expect
from ingest.insights import fields
from ingest.insights.answers import Kind, Series, TrendsAnswer
from ingest.insights.questions import Interval, Trends

LINES_MAX: Final = 24
_FIGURES_MAX: Final = 5_000
"""Of which a page has cells."""
_LINKS_CHARS_MAX: Final = 1_500_000
"""What the links of these may be long together."""
_SHORT: Final[dict[Interval, str]] = {"hour": "%H:%M", "month": "%b %Y"}
_LONG: Final[dict[Interval, str]] = {"hour": "%a %Y-%m-%d %H:%M", "month": "%Y-%m"}
_EMPTY: Final = figures.NONE

Name = tuple[str, Kind, str | None]
"""What tells a series from the others: its event's name, and its group."""


class Line(NamedTuple):
    """One series."""

    event: str
    group: str
    """Empty where there is one of an event alone."""
    total: str
    before: str
    """The total of the period before; empty if that was not asked for."""
    change: str
    link: str
    who: str
    """Where the people are listed who are behind the total."""
    cells: Sequence["Cell"]
    earlier: Sequence[str]
    """The figures of the period before, bucket by bucket."""


class Cell(NamedTuple):
    """One figure, and where the events behind it are; empty where there are none."""

    text: str
    link: str


class Bucket(NamedTuple):
    """One bucket."""

    label: str
    short: str
    why: str
    """Why it is not whole; empty if it is."""
    is_to_come: bool = False
    """It has not begun: there is no figure of it yet."""


class Shown(NamedTuple):
    """A whole trend."""

    lines: Sequence[Line]
    buckets: Sequence[Bucket]
    more: int
    """How many series are not shown."""
    measure: str
    is_compared: bool
    is_empty: bool


async def show(wanted: Wanted) -> Values:
    """Ask, and if it is wanted ask of the period before."""
    question = expect(wanted.question, Trends)
    answered = await wanted.ask(question)
    earlier = None
    before: dict[Name, Series] | None = None
    if wanted.query.get("compare") == "previous":
        earlier = period_before(question, answered.as_of)
        found = expect((await wanted.ask(earlier)).data, TrendsAnswer)
        before = {_name(earlier, each): each for each in found.series}
    made = _Making(wanted, question, expect(answered.data, TrendsAnswer), before)
    return {
        "shown": made.shown(answered.as_of),
        "question": question,
        "earlier": earlier,
        "as_of": answered.as_of,
    }


async def rows(wanted: Wanted) -> Records:
    """Ask, and return what `nonito query trends --csv` prints."""
    question = expect(wanted.question, Trends)
    return records.of_trends(question, expect((await wanted.ask(question)).data, TrendsAnswer))


TRENDS: Final = View("trends", "/v1/trends", show, rows)


class _Making:
    """One answer, made to be seen."""

    def __init__(
        self,
        wanted: Wanted,
        question: Trends,
        answer: TrendsAnswer,
        before: dict[Name, Series] | None,
    ) -> None:
        self._question = question
        self._answer = answer
        cells = min(LINES_MAX, len(answer.series)) * len(answer.buckets)
        self._has_links = cells * len(wanted.visit.request.path_qs) <= _LINKS_CHARS_MAX
        self._before = before
        app = wanted.visit.app
        self._who = who(wanted, "trends")
        self._behind = Behind(
            app.id,
            ZoneInfo(question.timezone),
            question.timezone == app.timezone,
            wanted.where,
            None if question.breakdown is None else fields.write(question.breakdown),
        )

    def shown(self, as_of: datetime) -> Shown:
        """Return all of it."""
        series = self._answer.series
        buckets = max(1, len(self._answer.buckets))
        fitting = max(1, min(LINES_MAX, _FIGURES_MAX // buckets))
        return Shown(
            lines=[self._line(each) for each in series[:fitting]],
            buckets=[*self._buckets(as_of)],
            more=max(0, len(series) - fitting),
            measure=measure_of(self._question),
            is_compared=self._before is not None,
            is_empty=not any(any(each.values) for each in series),
        )

    def _line(self, series: Series) -> Line:
        question, before = self._question, self._earlier(series)
        total = None if before is None else before.total
        name = question.events[series.event].name
        values = [each.value or "" for each in self._of(series.event) if each.group == "value"]
        group = self._behind.group(series.group, series.value, values)
        is_rest = series.group == "other"
        return Line(
            event=figures.ANY if name is None else name,
            group=group_of(series.group, series.value),
            total=figures.separated(series.total),
            before="" if self._before is None else figures.separated(total),
            change=_change(series.total, total),
            link=self._behind.events(name, group, question.start, question.end),
            who=self._who.behind(series.group, series.value, of=str(series.event)),
            cells=[*self._cells(series, name, None if is_rest else group)],
            earlier=self._figures(before),
        )

    def _of(self, event: int) -> list[Series]:
        return [each for each in self._answer.series if each.event == event]

    def _cells(self, series: Series, name: str | None, group: Pairs | None) -> Iterator[Cell]:
        """Yield the figures; those of the rest would each have all other values in their links."""
        question, starts = self._question, self._answer.buckets
        for start, following, value in zip_longest(starts, starts[1:], series.values):
            since = max(start, question.start)
            until = min(following or question.end, question.end)
            link = ""
            if value and self._has_links:
                link = (
                    self._people(series, start)
                    if question.measure.kind == "people"
                    else self._behind.events(name, group, since, until)
                )
            yield Cell(figures.separated(value), link)

    def _people(self, series: Series, start: datetime) -> str:
        at = ranges.written(start, ZoneInfo(self._question.timezone))
        return self._who.behind(series.group, series.value, of=str(series.event), at=at)

    def _earlier(self, series: Series) -> Series | None:
        """Return the same series of the period before; nothing is like the rest of others."""
        if self._before is None or series.group == "other":
            return None
        found = self._before.get(_name(self._question, series))
        is_complete = all(name[1] != "other" for name in self._before)
        if found is None and is_complete and self._question.measure.kind in ("count", "people"):
            return Series(series.event, series.group, series.value, (), 0)
        return found

    def _figures(self, before: Series | None) -> Sequence[str]:
        if self._before is None:
            return []
        values = () if before is None else before.values
        empty = 0 if before is not None and not values else None
        places = range(len(self._answer.buckets))
        return [
            figures.separated(values[place] if place < len(values) else empty) for place in places
        ]

    def _buckets(self, as_of: datetime) -> Iterator[Bucket]:
        question, answer = self._question, self._answer
        last = len(answer.buckets) - 1
        shorts, longs = (
            [_written(form, question, each) for each in answer.buckets] for form in (_SHORT, _LONG)
        )
        for place, label in enumerate(longs):
            start = answer.buckets[place]
            end = question.end if place == last else answer.buckets[place + 1]
            why = ""
            if start <= as_of < end:
                why = "not over yet"
            elif (place == last and answer.partial_last) or (place == 0 and answer.partial_first):
                why = "cut by the range"
            twice = longs.count(label) > 1 if question.interval == "hour" else False
            offset = f" {start:%z}" if twice else ""
            is_to_come = start > as_of
            why = "still to come" if is_to_come else why
            yield Bucket(f"{label}{offset}", shorts[place], why, is_to_come)


def _written(forms: dict[Interval, str], question: Trends, start: datetime) -> str:
    is_short = forms is _SHORT
    if question.interval == "hour" and is_short and start.hour == 0:
        return f"{start.day} {start:%b}"
    form = forms.get(question.interval)
    if form is None:
        return f"{start.day} {start:%b}" if is_short else f"{start:%a %Y-%m-%d}"
    return f"{start:{form}}"


def measure_of(question: Trends) -> str:
    """Return what is measured, in words."""
    match question.measure.kind:
        case "count":
            return "Events"
        case "people":
            return "People"
        case _:
            written = figures.measure(question.measure)
            word, _, field = written.partition(" of ")
            return f"{word[0].upper()}{word[1:]} of {short(field)}"


def group_of(kind: Kind, value: str | None) -> str:
    """Return what a group is called; nothing of one that is all."""
    if kind == "value":
        return value or '""'  # none is another group
    return "" if kind == "all" else figures.GROUPS[kind]


def _name(question: Trends, series: Series) -> Name:
    return question.events[series.event].name or "", series.group, series.value


def _change(now: float | None, before: float | None) -> str:
    """Return by how much something has grown, in percent; empty where that says nothing."""
    if now is None or before is None or before == 0:
        return ""
    return f"{100 * (now - before) / abs(before):+,.1f}%"
