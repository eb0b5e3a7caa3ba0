"""Trends: how much there is in each bucket of a range.

- An event is in the bucket in which its time `at` lies (`calendar.py`); only events within the
  range count, so that the first and the last bucket may be partial.
- `count` is the number of events; `people` that of different persons, events without one aside.
  People of several buckets don't add up, as one person may be in many: `total` counts them anew.
- `sum`, `average`, `min`, `max` and `percentile` are of the values of a field that read as numbers
  (`filters.py`), as doubles; all other events are left out. A percentile lies between two values
  as a straight line does. Without such a value they are null, and a sum is 0.
- A breakdown makes a series of each of the top n values by their measure over the whole range
  (equal ones: in the order of their texts), one of the events that have no value, and one of all
  others, measured anew: its people are counted once.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any, Final, assert_never

from ingest.insights import groups
from ingest.insights.answers import Kind, Series, TrendsAnswer
from ingest.insights.bounds import zone
from ingest.insights.calendar import Buckets, buckets
from ingest.insights.filters import chosen
from ingest.insights.questions import Measure, Selection, Trends
from ingest.insights.sql import Source, Values, bucket_of, number_of, text_of, within

_FOLDED: Final = {
    "count": "sum(cell)::BIGINT",
    "sum": "sum(cell)",
    "min": "min(cell)",
    "max": "max(cell)",
}
"""What a measure of all is, made of the measures of parts."""
_SAMPLE: Final = 50_000
_LABELS_MAX: Final = 1_000
"""Labels times buckets are kept in memory where they are measured at once."""

Figures = dict[int | None, Any]
"""What was measured in each bucket, by its place, and over the range (None)."""


def answer(source: Source, question: Trends, now: datetime) -> TrendsAnswer:
    """Measure each of the question's events."""
    calendar = buckets(question.start, question.end, question.interval, zone(question.timezone))
    series = [
        one
        for place, selection in enumerate(question.events)
        for one in _Trend(source, question, selection, calendar).series(place)
    ]
    return TrendsAnswer(
        buckets=calendar.starts,
        series=tuple(series),
        partial_first=question.start > calendar.edges[0],
        partial_last=min(question.end, now) < calendar.edges[-1],
    )


class _Trend:
    """One of the question's events."""

    def __init__(
        self, source: Source, question: Trends, selection: Selection, calendar: Buckets
    ) -> None:
        self._source = source
        self._question = question
        self._selection = selection
        self._calendar = calendar

    def series(self, place: int) -> list[Series]:
        """Return the series of this event: the top groups first, then those of the rest."""
        if self._question.breakdown is None:
            return [self._series(place, "all", None, self._whole())]
        top, figures = self._at_once() if self._has_few_labels() else self._in_two_passes()
        return [
            self._series(place, groups.kind(group), top.get(group), figures[group])
            for group in groups.places(len(top))
            if group in figures
        ]

    def _whole(self) -> Figures:
        values = self._source.values()
        sql = f"""SELECT bucket, {self._measured(values)} FROM ({self._rows(values)})
            GROUP BY GROUPING SETS ((bucket), ())"""
        return dict(self._source.rows(sql, values))

    def _has_few_labels(self) -> bool:
        """Tell whether all labels may be measured in all buckets: the sample's are few."""
        if self._question.measure.kind not in _FOLDED:
            return False
        values = self._source.values()
        sample = f"SELECT label FROM ({self._rows(values)}) LIMIT {_SAMPLE}"
        ((labels,),) = self._source.rows(f"SELECT count(DISTINCT label) FROM ({sample})", values)
        return int(labels) <= _LABELS_MAX

    def _at_once(self) -> tuple[dict[int, str], dict[int, Figures]]:
        """Measure all labels, and fold those of the rest: the events are read once."""
        values = self._source.values()
        fold = _FOLDED[self._question.measure.kind]
        sql = f"""WITH cells AS MATERIALIZED (
                SELECT label, bucket, {self._measured(values)} AS cell
                FROM ({self._rows(values)}) GROUP BY label, bucket),
            top AS (
                SELECT label AS top_label,
                    row_number() OVER (ORDER BY {fold} DESC NULLS LAST, label) - 1 AS top_place
                FROM cells WHERE label IS NOT NULL GROUP BY label
                ORDER BY top_place LIMIT {values.bind(self._question.top)})
            SELECT place, bucket, {fold}, min(top_label)
            FROM (SELECT {groups.place_of("label")} AS place, *
                FROM cells LEFT JOIN top ON top_label = label)
            GROUP BY GROUPING SETS ((place, bucket), (place))"""
        top: dict[int, str] = {}
        figures: dict[int, Figures] = defaultdict(dict)
        for place, bucket, value, label in self._source.rows(sql, values):
            figures[place][bucket] = value
            if place >= 0:
                top[place] = label
        return top, figures

    def _in_two_passes(self) -> tuple[dict[int, str], dict[int, Figures]]:
        """Find the top labels, then measure them and the rest: of many labels, or people."""
        top = self._top()
        return dict(enumerate(top)), self._grouped(top)

    def _top(self) -> list[str]:
        values = self._source.values()
        sql = f"""SELECT label FROM ({self._rows(values)}) WHERE label IS NOT NULL GROUP BY label
            ORDER BY {self._measured(values)} DESC NULLS LAST, label
            LIMIT {values.bind(self._question.top)}"""
        return [label for (label,) in self._source.rows(sql, values)]

    def _grouped(self, top: list[str]) -> dict[int, Figures]:
        values = self._source.values()
        sql = f"""SELECT place, bucket, {self._measured(values)}
            FROM (SELECT {groups.place_of("label")} AS place, * FROM ({self._rows(values)})
                LEFT JOIN ({groups.table(top, values)}) ON top_label = label)
            GROUP BY GROUPING SETS ((place, bucket), (place))"""
        figures: dict[int, Figures] = defaultdict(dict)
        for place, bucket, value in self._source.rows(sql, values):
            figures[place][bucket] = value
        return figures

    def _rows(self, values: Values) -> str:
        """Return a SELECT of the events that are measured, with what that takes."""
        question = self._question
        columns = {"bucket": bucket_of(self._calendar, values), "person": "person"}
        if question.breakdown is not None:
            columns["label"] = text_of(question.breakdown, values)
        if question.measure.field is not None:
            columns["number"] = number_of(text_of(question.measure.field, values))
        where = within(question.start, question.end, values)
        return self._source.leaves(columns, where + chosen(self._selection, values))

    def _measured(self, values: Values) -> str:
        return measured(self._question.measure, values)

    def _series(self, event: int, group: Kind, value: str | None, figures: Figures) -> Series:
        empty = 0 if self._question.measure.kind in ("count", "people", "sum") else None
        places = range(len(self._calendar.starts))
        values = tuple(figures.get(place, empty) for place in places)
        return Series(event, group, value, values, figures.get(None, empty))


def measured(measure: Measure, values: Values) -> str:
    """Return a measure as SQL over `person` and `number`."""
    match measure.kind:
        case "count":
            return "count(*)"
        case "people":
            return "count(DISTINCT person)"
        case "sum":
            return "coalesce(sum(number), 0)"
        case "average":
            return "avg(number)"
        case "min" | "max":
            return f"{measure.kind}(number)"
        case "percentile":
            return f"quantile_cont(number, {values.bind(measure.q)}::DOUBLE)"
        case _:
            assert_never(measure.kind)
