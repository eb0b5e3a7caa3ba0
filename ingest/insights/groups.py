"""The groups of a breakdown: the top values, those without one, and all others together.

In SQL a group is its place: that of its value among the top ones, from 0, or one of two below.
"""

from typing import Final, assert_never

from ingest.insights.answers import Kind
from ingest.insights.questions import Group
from ingest.insights.sql import Values

_NONE: Final = -1
_OTHER: Final = -2


def kind(place: int) -> Kind:
    """Return which kind of group a place is of."""
    if place >= 0:
        return "value"
    return "none" if place == _NONE else "other"


def places(top: int) -> list[int]:
    """Return the places of a breakdown in the order in which they are shown."""
    return [*range(top), _NONE, _OTHER]


def place_of(label: str) -> str:
    """Return SQL for a group's place, once its label is joined with the top ones."""
    return f"coalesce(top_place, CASE WHEN {label} IS NULL THEN {_NONE} ELSE {_OTHER} END)"


def table(top: list[str], values: Values) -> str:
    """Return a SELECT of the top labels and their places."""
    bound = f"{values.bind(top)}::VARCHAR[]"
    return f"SELECT unnest({bound}) AS top_label, unnest(range(len({bound}))) AS top_place"


def condition(label: str, group: Group, values: Values) -> str:
    """Return SQL that is true of what is in a group, by its label."""
    match group.kind:
        case "value":
            return f"{label} = {values.bind(group.value)}"
        case "none":
            return f"{label} IS NULL"
        case "other":
            others = f"{values.bind(list(group.others))}::VARCHAR[]"
            return f"({label} IS NOT NULL AND NOT list_contains({others}, {label}))"
        case _:
            assert_never(group.kind)
