"""Retention shown: a triangle of the shares that are back, cohort by cohort."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from ingest.api import figures, records
from ingest.cli.query.shown import Shown, Table
from ingest.insights.answers import Cohort, RetentionAnswer
from ingest.insights.questions import Retention

_COLUMN: Final = len("  100.0%")


def show(question: Retention, answer: RetentionAnswer, as_of: datetime, width: int) -> Shown:
    """Return what is shown on a terminal of a width: where it is too narrow, several tables."""
    return Shown(
        tables=[*_tables(question, answer, width)],
        records=records.of_retention(answer),
        notes=[*_notes(question, answer, as_of)],
    )


def _tables(question: Retention, answer: RetentionAnswer, width: int) -> Iterator[Table]:
    heading = ("COHORT", "PEOPLE")
    people = max([len(heading[1]), *(len(str(each.people)) for each in answer.cohorts)])
    size = max(1, (width - len("2026-01-31  ") - people) // _COLUMN)
    for start in range(0, len(answer.cohorts), size):
        periods = range(start, min(start + size, len(answer.cohorts)))
        yield Table(
            (*heading, *map(str, periods)),
            [_row(question, each, periods) for each in answer.cohorts if len(each.back) > start],
            frozenset(range(1, len(periods) + 2)),
        )


def _row(question: Retention, cohort: Cohort, periods: range) -> tuple[str, ...]:
    shares = (
        figures.share(cohort.back[period], cohort.people) if period < len(cohort.back) else ""
        for period in periods
    )
    return (figures.bucket(cohort.start, question.interval), str(cohort.people), *shares)


def _notes(question: Retention, answer: RetentionAnswer, as_of: datetime) -> Iterator[str]:
    words = "in that {} or later" if question.back == "on_or_after" else "in that {}"
    later = words.format(question.interval)
    yield f"back so many {question.interval}s later ({later}), in {question.timezone}"
    if answer.partial_last and answer.cohorts:
        last = figures.bucket(answer.cohorts[-1].start, question.interval)
        is_over = question.end <= as_of
        why = f"the range ends within {last}" if is_over else f"{last} is not over yet"
        yield f"the last figure of each cohort is of a part of a {question.interval}: {why}"
