"""What a question may cost: checked before it is asked, refused with what is wrong."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, assert_never
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.insights.errors import BadQuestion, TooDear
from ingest.insights.questions import (
    PERSON,
    Condition,
    Events,
    Filter,
    Funnel,
    FunnelPeople,
    Group,
    Interval,
    Measure,
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

EVENTS_MAX: Final = 10
STEPS_MIN: Final = 2
STEPS_MAX: Final = 10
TOP_MAX: Final = 100
LIMIT_MAX: Final = 1_000
BUCKETS_MAX: Final = 5_000
FIGURES_MAX: Final = 200_000
"""Buckets times series: some megabytes of JSON."""
PERIODS_MAX: Final = 120
"""Of a retention's table, which has half the square of it."""
RANGE_MAX: Final = timedelta(days=3_660)
WINDOW_MAX: Final = timedelta(days=366)
NODES_MAX: Final = 100
DEPTH_MAX: Final = 10
PATH_MAX: Final = 10
TEXT_MAX: Final = 1_000
"""Characters of a name, a key, or a value that is compared with."""

_LENGTH: Final[dict[Interval, timedelta]] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}


def check(question: Question) -> None:  # noqa: C901 - a line for each kind
    """Raise BadQuestion, or TooDear with a range that fits, if this is no question for us."""
    match question:
        case Trends():
            _check_trends(question)
        case Funnel():
            _check_funnel(question)
        case Retention():
            _check_retention(question)
        case Events():
            _check_events(question)
        case OneEvent():
            _in_order(question.start, question.end)
        case PersonEvents():
            _text(question.person)
            _number("limit", question.limit, 1, LIMIT_MAX)
        case People() | FunnelPeople():
            _check_people(question)
        case Names():
            _number("top", question.top, 0, TOP_MAX)
        case _:
            assert_never(question)


def zone(name: str) -> ZoneInfo:
    """Return a time zone; raises BadQuestion for a name that none has."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadQuestion(f"{name!r} is no time zone: write one like Europe/Berlin") from None


def _check_trends(question: Trends) -> None:
    _number("events", len(question.events), 1, EVENTS_MAX)
    _selections(question.events)
    _measure(question.measure)
    zone(question.timezone)
    series = len(question.events) * _groups(question.breakdown, question.top)
    _range(question.start, question.end)
    most = min(BUCKETS_MAX, FIGURES_MAX // series)
    _fits(question.end - question.start, question.interval, most)


def _check_funnel(question: Funnel) -> None:
    _number("steps", len(question.steps), STEPS_MIN, STEPS_MAX)
    _selections(question.steps)
    _groups(question.breakdown, question.top)
    _range(question.start, question.end)
    if not timedelta(0) < question.window <= WINDOW_MAX:
        raise BadQuestion(f"a funnel's window is from a second to {WINDOW_MAX.days} days")


def _check_people(question: People | FunnelPeople) -> None:
    _number("limit", question.limit, 1, LIMIT_MAX)
    if isinstance(question, FunnelPeople):
        _check_funnel(question.funnel)
        _number("step", question.step, 1, len(question.funnel.steps))
        _group(question.funnel.breakdown, question.group)
        return
    _selections((question.events,))
    _range(question.start, question.end)
    _group(question.breakdown, question.group)


def _group(breakdown: Path | None, group: Group | None) -> None:
    if breakdown is not None:
        _path(breakdown)
    if group is None:
        return
    if breakdown is None or (group.value is None) != (group.kind != "value"):
        raise BadQuestion("a group is of a breakdown, and of a value if it says so")
    _number("others", len(group.others), 0, TOP_MAX)


def _check_retention(question: Retention) -> None:
    _selections((question.first, question.then))
    zone(question.timezone)
    _range(question.start, question.end)
    _fits(question.end - question.start, question.interval, PERIODS_MAX)


def _check_events(question: Events) -> None:
    _selections((question.events,))
    _number("limit", question.limit, 1, LIMIT_MAX)
    _in_order(question.start, question.end)


def _in_order(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and start > end:
        raise BadQuestion("the range ends before it begins")


def _range(start: datetime, end: datetime) -> None:
    if start >= end:
        raise BadQuestion("the range ends where it begins, or before")
    if end - start > RANGE_MAX:
        raise TooDear(f"a range has at most {RANGE_MAX.days} days", RANGE_MAX)


def _fits(length: timedelta, interval: Interval, most: int) -> None:
    longest = min(most * _LENGTH[interval], RANGE_MAX)
    if length > longest:
        raise TooDear(f"by {interval}, this has at most {_in_words(longest)}", longest)


def _in_words(length: timedelta) -> str:
    days = length // timedelta(days=1)
    return f"{days} days" if days else f"{length // timedelta(hours=1)} hours"


def _groups(breakdown: Path | None, top: int) -> int:
    """Check a breakdown, and return how many series or groups it has at most."""
    if breakdown is None:
        return 1
    _path(breakdown)
    _number("top", top, 1, TOP_MAX)
    return top + 2


def _measure(measure: Measure) -> None:
    if measure.kind in ("count", "people"):
        return
    if measure.field is None:
        raise BadQuestion(f"{measure.kind} is measured of a field")
    _path(measure.field)
    if measure.kind == "percentile" and not 0 < (measure.q or 0) < 1:
        raise BadQuestion("a percentile's q lies between 0 and 1")


def _selections(selections: Iterable[Selection]) -> None:
    nodes = 0
    for selection in selections:
        _text(selection.name or "")
        nodes += 0 if selection.where is None else _filter(selection.where, DEPTH_MAX)
    _number("conditions", nodes, 0, NODES_MAX)


def _filter(where: Filter, depth: int) -> int:
    """Check a filter, and return how many nodes it has."""
    if isinstance(where, Condition):
        _condition(where)
        return 1
    if depth == 0:
        raise BadQuestion(f"a filter is nested at most {DEPTH_MAX} deep")
    return 1 + sum(_filter(part, depth - 1) for part in where.parts)


def _condition(where: Condition) -> None:
    _path(where.field)
    if (where.value is None) != (where.operator in ("exists", "missing")):
        wanted = "takes no value" if where.value is not None else "takes a value"
        raise BadQuestion(f"{where.operator} {wanted}")
    _text(str(where.value))


def _path(path: Path) -> None:
    if path in (("name",), PERSON):
        return
    if len(path) < 2 or path[0] != "params":  # noqa: PLR2004 - params and a key
        raise BadQuestion("a field is name, person or params and a key")
    _number("keys of a field", len(path) - 1, 1, PATH_MAX)
    for key in path:
        _text(key)


def _text(text: str) -> None:
    if len(text) > TEXT_MAX:
        raise BadQuestion(f"a text of a question has at most {TEXT_MAX} characters")


def _number(noun: str, number: int, least: int, most: int) -> None:
    if not least <= number <= most:
        raise BadQuestion(f"{noun}: {number}, where there may be {least} to {most}")
