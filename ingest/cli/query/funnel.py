"""A funnel shown: a row for each step, and with a breakdown for each group's steps."""

from collections.abc import Iterator
from datetime import datetime

from ingest.api import figures, records
from ingest.api.records import Reached
from ingest.cli.query import labels
from ingest.cli.query.shown import Shown, Table
from ingest.insights.answers import FunnelAnswer
from ingest.insights.questions import Funnel

_HEADING = ("STEP", "PEOPLE", "OF FIRST", "OF PREVIOUS", "MEDIAN TIME")


def show(question: Funnel, answer: FunnelAnswer) -> Shown:
    """Return what is shown."""
    known = records.of_funnel(question, answer)
    return Shown([_table(question, answer)], known, [*_notes(question, answer)])


def _table(question: Funnel, answer: FunnelAnswer) -> Table:
    steps = [f"{n} {labels.of_event(each)}" for n, each in enumerate(question.steps, start=1)]
    rows = [
        (labels.of_group(group.group, group.value), name, *_figures(step))
        for group in answer.groups
        for name, step in zip(steps, records.steps(group), strict=True)
    ]
    if question.breakdown is None:
        return Table(_HEADING, [row[1:] for row in rows], frozenset(range(1, 5)))
    return Table(("GROUP", *_HEADING), rows, frozenset(range(2, 6)))


def _figures(step: Reached) -> tuple[str, ...]:
    return (
        str(step.people),
        figures.percent(step.of_first),
        figures.percent(step.of_previous),
        figures.span(step.median_s),
    )


def _notes(question: Funnel, answer: FunnelAnswer) -> Iterator[str]:
    start, end = _moment(question.start), _moment(question.end)
    window = figures.span(question.window.total_seconds())
    yield f"first steps from {start} until {end}, all within {window}"
    if answer.partial:
        yield "the latest may still get further, so figures may grow"


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="minutes")
