"""A funnel shown: a row for each step, and with a breakdown for each group's steps."""

from collections.abc import Iterator
from datetime import datetime

from ingest.cli.query import figures, labels
from ingest.cli.query.shown import Cell, Records, Shown, Table
from ingest.insights.answers import FunnelAnswer, FunnelGroup, FunnelStep
from ingest.insights.questions import Funnel

_HEADING = ("STEP", "PEOPLE", "OF FIRST", "OF PREVIOUS", "MEDIAN TIME")
_RECORD = ("group", "value", "step", "event", "people", "of_first", "of_previous", "median_s")


def show(question: Funnel, answer: FunnelAnswer) -> Shown:
    """Return what is shown."""
    return Shown(
        [_table(question, answer)], _records(question, answer), [*_notes(question, answer)]
    )


def _table(question: Funnel, answer: FunnelAnswer) -> Table:
    steps = [f"{n} {labels.of_event(each)}" for n, each in enumerate(question.steps, start=1)]
    rows = [
        (labels.of_group(group.group, group.value), name, *_figures(step, first, previous))
        for group in answer.groups
        for name, (step, first, previous) in zip(steps, _steps(group), strict=True)
    ]
    if question.breakdown is None:
        return Table(_HEADING, [row[1:] for row in rows], frozenset(range(1, 5)))
    return Table(("GROUP", *_HEADING), rows, frozenset(range(2, 6)))


def _steps(group: FunnelGroup) -> Iterator[tuple[FunnelStep, int, int]]:
    """Yield each step with the people of the first one, and of the one before."""
    first = previous = group.steps[0].people if group.steps else 0
    for step in group.steps:
        yield step, first, previous
        previous = step.people


def _figures(step: FunnelStep, first: int, previous: int) -> tuple[str, ...]:
    return (
        str(step.people),
        figures.share(step.people, first),
        figures.share(step.people, previous),
        figures.span(step.median_s),
    )


def _records(question: Funnel, answer: FunnelAnswer) -> Records:
    rows: list[tuple[Cell, ...]] = []
    for group in answer.groups:
        for place, (step, first, previous) in enumerate(_steps(group)):
            of_first, of_previous = (
                step.people / whole if whole else None for whole in (first, previous)
            )
            name = question.steps[place].name
            known = (group.group, group.value, place + 1, name, step.people)
            rows.append((*known, of_first, of_previous, step.median_s))
    return Records(_RECORD, rows)


def _notes(question: Funnel, answer: FunnelAnswer) -> Iterator[str]:
    start, end = _moment(question.start), _moment(question.end)
    window = figures.span(question.window.total_seconds())
    yield f"first steps from {start} until {end}, all within {window}"
    if answer.partial:
        yield "the latest may still get further, so figures may grow"


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="minutes")
