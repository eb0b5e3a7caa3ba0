"""Whether a filter is true of one event that is at hand: what `filters.py` has DuckDB look for.

For events that were read by themselves, a few hundred a second. A filter is made ready once.
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, assert_never

from ingest.insights.questions import All, Condition, Either, Filter, Path
from ingest.insights.texts import number, text, ways

_INT64: Final = range(-(2**63), 2**63)
"""Whole numbers beyond are doubles in the archive."""
_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "lt": operator.lt,
    "ge": operator.ge,
    "le": operator.le,
}


class Event(NamedTuple):
    """What of an event can be filtered by."""

    name: str
    person: str | None
    params: Any
    """As JSON says it."""


Matches = Callable[[Event], bool]
_Compares = Callable[[str | None], bool]


def matcher(question: Filter | None) -> Matches:
    """Return what tells of an event whether a filter means it; None means each."""
    match question:
        case None:
            return lambda _: True
        case All(parts):
            each = [matcher(part) for part in parts]
            return lambda event: all(matches(event) for matches in each)
        case Either(parts):
            each = [matcher(part) for part in parts]
            return lambda event: any(matches(event) for matches in each)
        case Condition():
            compares, path = _comparison(question), question.field
            return lambda event: compares(text_of(event, path))
        case _:
            assert_never(question)


def text_of(event: Event, path: Path) -> str | None:
    """Return the text of a field; None where it is missing, or JSON's null."""
    if path[0] == "name":
        return event.name
    if path[0] == "person":
        return event.person
    value = event.params
    for key in path[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else _text(value)


def _text(value: object) -> str:
    match value:
        case bool() | str():
            return text(value)
        case int():
            return str(value) if value in _INT64 else repr(float(value))
        case _:  # a double, or what has no certain text
            return repr(value)


def _comparison(question: Condition) -> _Compares:
    written = "" if question.value is None else text(question.value)
    match question.operator:
        case "exists":
            return lambda found: found is not None
        case "missing":
            return lambda found: found is None
        case "eq":
            meant = _meant(question, written)
            return lambda found: found in meant
        case "ne":
            meant = _meant(question, written)
            return lambda found: found not in meant
        case "contains":
            return lambda found: found is not None and written in found
        case "gt" | "lt" | "ge" | "le":
            return _ordered(_ORDER[question.operator], written)
        case _:
            assert_never(question.operator)


def _meant(question: Condition, written: str) -> set[str]:
    return ways(written) if question.field[0] == "params" else {written}


def _ordered(compares: Callable[[Any, Any], bool], written: str) -> _Compares:
    value = number(written)
    if value is None:
        # By code point, as UTF-8 sorts.
        return lambda found: found is not None and compares(found, written)

    def of_number(found: str | None) -> bool:
        read = None if found is None else _number_of(found)
        return read is not None and compares(read, value)

    return of_number


def _number_of(found: str) -> float | None:
    """Return what a text reads as: None for no number, and for what no double holds."""
    try:
        value = float(found) if found.isascii() else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
