"""Retention as it is seen: a row for each cohort, darker where more are back."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from ingest.api import figures, records
from ingest.api.records import Records
from ingest.dashboard.views.view import Values, View, Wanted, expect
from ingest.insights.answers import Cohort, RetentionAnswer
from ingest.insights.questions import Retention

_SHADES: Final = 10


class Cell(NamedTuple):
    """Who was back so many periods later."""

    percent: str
    people: str
    shade: int
    """From 0, of nobody, to 10, of all."""
    is_partial: bool
    """Its period is not over, or cut by the range."""


class Row(NamedTuple):
    """One cohort."""

    start: str
    people: str
    cells: Sequence[Cell]


class Shown(NamedTuple):
    """A whole table."""

    rows: Sequence[Row]
    periods: int
    partial: str
    """Why the last figures are of a part; empty if they are not."""
    is_empty: bool


async def show(wanted: Wanted) -> Values:
    """Ask."""
    question = expect(wanted.question, Retention)
    answered = await wanted.ask(question)
    answer = expect(answered.data, RetentionAnswer)
    why = "cut by the range" if question.end <= answered.as_of else "not over yet"
    shown = Shown(
        rows=[_row(question, answer, each) for each in answer.cohorts],
        periods=len(answer.cohorts),
        partial=why if answer.partial_last and answer.cohorts else "",
        is_empty=not any(each.people for each in answer.cohorts),
    )
    return {"shown": shown, "question": question, "as_of": answered.as_of}


async def rows(wanted: Wanted) -> Records:
    """Ask, and return what `nonito query retention --csv` prints."""
    return records.of_retention(expect((await wanted.ask(wanted.question)).data, RetentionAnswer))


RETENTION: Final = View("retention", "/v1/retention", show, rows)


def _row(question: Retention, answer: RetentionAnswer, cohort: Cohort) -> Row:
    last = len(cohort.back) - 1
    return Row(
        start=figures.bucket(cohort.start, question.interval),
        people=figures.separated(cohort.people),
        cells=[
            Cell(
                figures.share(people, cohort.people),
                figures.separated(people),
                _shade(people, cohort.people),
                answer.partial_last and place == last,
            )
            for place, people in enumerate(cohort.back)
        ],
    )


def _shade(people: int, whole: int) -> int:
    """Return a tenth, begun ones whole: somebody is never nobody."""
    return -(-people * _SHADES // whole) if whole else 0
