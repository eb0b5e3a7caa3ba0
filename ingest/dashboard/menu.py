"""The menu beside a list: names, and the parameters of one or of all, with types and values."""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.insights import fields, menu
from ingest.insights.answers import Event, NamesAnswer, NameUse, Parameter, ValueCount

if TYPE_CHECKING:
    from ingest.insights.questions import Path

NAMES_MAX: Final = 100
PARAMETERS_MAX: Final = 50
VALUES_MAX: Final = 10
_LIKE_MAX: Final = 3
_COMPARED_MAX: Final = 1_000
_BYTES_MAX: Final = 16 * 1024
"""Longer parameters are no part of it."""


class Field(NamedTuple):
    """One parameter."""

    field: str
    """As a filter has it."""
    seen: int
    """In how many of the events that were looked into."""
    types: str
    values: Sequence[ValueCount]


class Menu(NamedTuple):
    """What there is to choose from."""

    names: Sequence[NameUse]
    names_more: int
    """How many are not listed."""
    fields: Sequence[Field]
    fields_more: int
    sampled: int
    """How many events were looked into: the latest ones."""
    is_of_page: bool
    """Or those that are listed beside it."""
    events: int
    """How many there are of all names."""


def of(answer: NamesAnswer, name: str | None, listed: Sequence[Event]) -> Menu:
    """Return the menu, with the parameters of a name if one is chosen.

    Where that is too rare to be among the latest events, they are those of the events listed.
    """
    uses = [use for use in answer.names if name in (None, use.name)]
    sampled, is_of_page = sum(use.sampled for use in uses), False
    parameters: Sequence[Parameter] = _merged(uses)
    if name is not None and sampled < len(listed):
        texts = [params for each in listed if len(params := bytes(each.params)) <= _BYTES_MAX]
        sampled, is_of_page = len(listed), True
        parameters = menu.parameters(texts, VALUES_MAX)
    shown = [_field(each) for each in parameters[:PARAMETERS_MAX]]
    return Menu(
        answer.names[:NAMES_MAX],
        max(0, len(answer.names) - NAMES_MAX),
        shown,
        len(parameters) - len(shown),
        sampled,
        is_of_page,
        answer.events,
    )


def like(answer: NamesAnswer, name: str) -> list[str]:
    """Return names that somebody may have meant by one that there is not."""
    names = [use.name for use in answer.names[:_COMPARED_MAX]]
    if name in names:
        return []
    by_fold = {each.casefold(): each for each in reversed(names)}
    close = difflib.get_close_matches(name.casefold(), by_fold, _LIKE_MAX)
    return [by_fold[each] for each in close]


def _merged(uses: Iterable[NameUse]) -> list[Parameter]:
    """Return the parameters of several names as of one, the most frequent first."""
    types: dict[Path, Counter[str]] = {}
    values: dict[Path, Counter[str]] = {}
    for use in uses:
        for each in use.parameters:
            types.setdefault(each.path, Counter()).update(each.types)
            top = values.setdefault(each.path, Counter())
            top.update({value.value: value.count for value in each.top})
    found = [
        Parameter(path, seen.total(), dict(seen), _top(values[path]))
        for path, seen in types.items()
    ]
    return sorted(found, key=lambda each: (-each.count, each.path))


def _top(values: Counter[str]) -> tuple[ValueCount, ...]:
    order = sorted(values.items(), key=lambda each: (-each[1], each[0]))
    return tuple(ValueCount(value, count) for value, count in order[:VALUES_MAX])


def _field(parameter: Parameter) -> Field:
    types = sorted(parameter.types, key=lambda each: (-parameter.types[each], each))
    return Field(fields.write(parameter.path), parameter.count, " or ".join(types), parameter.top)
