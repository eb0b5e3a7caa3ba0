"""Trends shown: a row for each bucket, a column for each series where they fit, and a chart."""

from collections.abc import Iterator
from datetime import datetime

from ingest.api import figures, records
from ingest.cli.query import chart, labels
from ingest.cli.query.chart import Line
from ingest.cli.query.shown import Shown, Table
from ingest.cli.table import width_of
from ingest.insights.answers import Series, TrendsAnswer
from ingest.insights.questions import Trends


def show(question: Trends, answer: TrendsAnswer, as_of: datetime, width: int) -> Shown:
    """Return what is shown on a terminal of a width."""
    wide = _wide(question, answer)
    fits = max(map(width_of, wide.lines(width)), default=0) <= width
    return Shown(
        tables=[wide if fits else _tall(question, answer)] if answer.series else [],
        records=records.of_trends(question, answer),
        notes=[*_notes(question, answer, as_of)],
        chart=["", *_chart(question, answer, width)] if answer.series else [],
    )


def _chart(question: Trends, answer: TrendsAnswer, width: int) -> Iterator[str]:
    first, last = (figures.bucket(answer.buckets[n], question.interval) for n in (0, -1))
    lines = [Line(_label(question, each), each.values, each.total) for each in answer.series]
    return chart.draw(lines, (first, last), width)


def _label(question: Trends, series: Series) -> str:
    """Return what tells a series from the others."""
    event = labels.of_event(question.events[series.event])
    if series.group == "all":
        return event
    group = labels.of_group(series.group, series.value)
    return group if len(question.events) == 1 else f"{event}: {group}"


def _wide(question: Trends, answer: TrendsAnswer) -> Table:
    """Return a column for each series."""
    columns = [[figures.number(value) for value in each.values] for each in answer.series]
    starts = [figures.bucket(start, question.interval) for start in answer.buckets]
    return Table(
        ("START", *(_label(question, each) for each in answer.series)),
        [
            *zip(starts, *columns, strict=True),
            ("total", *(figures.number(each.total) for each in answer.series)),
        ],
        frozenset(range(1, len(columns) + 1)),
    )


def _tall(question: Trends, answer: TrendsAnswer) -> Table:
    """Return a row for each bucket and series."""
    names = [_label(question, each) for each in answer.series]
    rows = [
        (figures.bucket(start, question.interval), name, figures.number(each.values[place]))
        for place, start in enumerate(answer.buckets)
        for name, each in zip(names, answer.series, strict=True)
    ]
    totals = [
        ("total", name, figures.number(each.total))
        for name, each in zip(names, answer.series, strict=True)
    ]
    heading = ("START", "GROUP", question.measure.kind.upper())
    return Table(heading, [*rows, *totals], frozenset((2,)))


def _notes(question: Trends, answer: TrendsAnswer, as_of: datetime) -> Iterator[str]:
    yield f"{figures.measure(question.measure)} by {question.interval} in {question.timezone}"
    if not answer.series:
        yield "there are no such events"
    if answer.partial_first:
        yield f"the range begins within {figures.bucket(answer.buckets[0], question.interval)}"
    if answer.partial_last:
        last = figures.bucket(answer.buckets[-1], question.interval)
        is_over = question.end <= as_of
        yield f"the range ends within {last}" if is_over else f"{last} is not over yet"
