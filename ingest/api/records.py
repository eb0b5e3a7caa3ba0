"""An answer as rows for programs: each says all that it is about, whatever the others say."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from ingest.api.formats import guarded
from ingest.insights.answers import FunnelAnswer, FunnelGroup, RetentionAnswer, TrendsAnswer
from ingest.insights.questions import Funnel, Trends

Cell = str | int | float | datetime | None
"""Text may be a client's, and numbers stay numbers."""

_TRENDS: Final = ("start", "event", "group", "value", "figure")
_FUNNEL: Final = (
    "group",
    "value",
    "step",
    "event",
    "people",
    "of_first",
    "of_previous",
    "median_s",
)
_RETENTION: Final = ("cohort", "people", "period", "back")


class Records(NamedTuple):
    """Rows, and what stands above them."""

    heading: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def csv(self, shown: Callable[[str], str] = str) -> str:
        """Return RFC 4180's CSV, without formulas; `shown` is how texts are."""
        text = io.StringIO()
        writer = csv.writer(text)
        for row in (self.heading, *self.rows):
            cells = map(_cell, row)
            writer.writerow([shown(each) if isinstance(each, str) else each for each in cells])
        return text.getvalue()


class Reached(NamedTuple):
    """One step of a funnel, and what it is compared with."""

    people: int
    median_s: float | None
    of_first: float | None
    """Which share of those at the first step; None of nobody, as below."""
    of_previous: float | None


def of_trends(question: Trends, answer: TrendsAnswer) -> Records:
    """Return a row for each figure."""
    rows = [
        (start, question.events[each.event].name, each.group, each.value, value)
        for each in answer.series
        for start, value in zip(answer.buckets, each.values, strict=True)
    ]
    return Records(_TRENDS, rows)


def of_funnel(question: Funnel, answer: FunnelAnswer) -> Records:
    """Return a row for each step of each group."""
    rows = [
        (
            *(group.group, group.value, place + 1, question.steps[place].name),
            *(step.people, step.of_first, step.of_previous, step.median_s),
        )
        for group in answer.groups
        for place, step in enumerate(steps(group))
    ]
    return Records(_FUNNEL, rows)


def of_retention(answer: RetentionAnswer) -> Records:
    """Return a row for each figure."""
    rows = [
        (each.start, each.people, period, people)
        for each in answer.cohorts
        for period, people in enumerate(each.back)
    ]
    return Records(_RETENTION, rows)


def steps(group: FunnelGroup) -> Iterator[Reached]:
    """Yield the steps of a funnel."""
    first = previous = group.steps[0].people if group.steps else 0
    for step in group.steps:
        yield Reached(
            step.people, step.median_s, _share(step.people, first), _share(step.people, previous)
        )
        previous = step.people


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _cell(cell: Cell) -> str | int | float:
    if isinstance(cell, str):
        return guarded(cell)
    return cell.isoformat() if isinstance(cell, datetime) else "" if cell is None else cell
