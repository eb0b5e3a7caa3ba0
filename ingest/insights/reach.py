"""What a question needs of the events: of which time, whether their parameters, and who did it."""

from collections.abc import Iterator
from datetime import datetime
from typing import assert_never

from ingest.insights.questions import (
    PERSON,
    Condition,
    Events,
    Filter,
    Funnel,
    FunnelPeople,
    Names,
    OneEvent,
    Path,
    People,
    PersonEvents,
    Question,
    Retention,
    Selection,
    Trends,
)


def of(question: Question) -> tuple[datetime | None, datetime | None]:
    """Return from when on and until when (itself not); None for no bound.

    Funnels need their window after the range, first-time retention all that was before.
    """
    match question:
        case Trends() | Events() | OneEvent() | People():
            return question.start, question.end
        case Funnel():
            return question.start, question.end + question.window
        case FunnelPeople():
            return of(question.funnel)
        case Retention():
            return None if question.kind == "first_time" else question.start, question.end
        case PersonEvents() | Names():
            return None, None
        case _:
            assert_never(question)


def has_params(question: Question) -> bool:
    """Return whether it asks for any parameter."""
    match question:
        case Trends():
            paths = _of(*question.events, fields=(question.breakdown, question.measure.field))
        case Funnel():
            paths = _of(*question.steps, fields=(question.breakdown,))
        case FunnelPeople():
            return has_params(question.funnel)
        case People():
            paths = _of(question.events, fields=(question.breakdown,))
        case Retention():
            paths = _of(question.first, question.then)
        case Events() | PersonEvents() | OneEvent() | Names():
            return True
        case _:
            assert_never(question)
    return any(path[0] == "params" for path in paths)


def has_people(question: Question) -> bool:
    """Return whether it asks who did it."""
    match question:
        case Trends():
            fields = (question.breakdown, question.measure.field)
            return question.measure.kind == "people" or PERSON in _of(
                *question.events, fields=fields
            )
        case Funnel() | FunnelPeople() | Retention() | People():
            return True
        case Events() | PersonEvents():
            return True
        case OneEvent() | Names():
            return False
        case _:
            assert_never(question)


def means_people(selection: Selection) -> bool:
    """Return whether a selection is of certain people."""
    return PERSON in _of(selection)


def _of(*selections: Selection, fields: tuple[Path | None, ...] = ()) -> Iterator[Path]:
    yield from (path for path in fields if path is not None)
    for selection in selections:
        if selection.where is not None:
            yield from _of_filter(selection.where)


def _of_filter(where: Filter) -> Iterator[Path]:
    if isinstance(where, Condition):
        yield where.field
        return
    for part in where.parts:
        yield from _of_filter(part)
