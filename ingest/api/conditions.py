"""Filters as addresses have them: `params.plan:eq:pro`.

A `where` is FIELD:OPERATOR:VALUE, or several of them with `|` between, of which one has to be true.
A value in double quotes may hold a `|`; a quote within is doubled. All `where` of a question have
to be true.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, get_args

from ingest.api.refusals import Refused, invalid
from ingest.insights import fields
from ingest.insights.errors import BadQuestion
from ingest.insights.questions import All, Condition, Either, Filter, Operator, Path

_QUOTED: Final = r'"(?:[^"]|"")*"'
_CONDITION: Final = re.compile(
    rf'((?:{_QUOTED}|[^":|])+):([a-z]+)(?::({_QUOTED}(?=\||$)|[^|]*))?(\||$)', re.DOTALL
)
_OPERATORS: Final[Sequence[Operator]] = get_args(Operator)
_HINT: Final = "write FIELD:OPERATOR:VALUE, as params.plan:eq:pro"


def read_all(name: str, texts: Sequence[str]) -> Filter | None:
    """Return the filter that all texts of a parameter mean; None without any. Raises Refused."""
    parts = tuple(_alternatives(name, text) for text in texts)
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else All(parts)


def field(name: str, text: str) -> Path:
    """Return the field that a parameter's text means; raise Refused."""
    try:
        return fields.read(text)
    except BadQuestion as error:
        raise invalid(name, str(error)) from None


def with_fields(text: str, change: Callable[[str], str]) -> str:
    """Return a parameter's text with each field changed; what is no condition stays as it is."""
    changed, position = "", 0
    while found := _CONDITION.match(text, position):
        changed += change(found[1]) + text[found.end(1) : found.end()]
        position = found.end()
        if not found[4]:
            break
    return changed + text[position:]


def _alternatives(name: str, text: str) -> Filter:
    parts: list[Condition] = []
    position, ends = 0, ""
    while position < len(text) or ends:
        found = _CONDITION.match(text, position)
        if found is None:
            raise invalid(name, _HINT)
        parts.append(_condition(name, found))
        position, ends = found.end(), found[4]
    if not parts:
        raise invalid(name, _HINT)
    return parts[0] if len(parts) == 1 else Either(tuple(parts))


def _condition(name: str, found: re.Match[str]) -> Condition:
    operator = next((each for each in _OPERATORS if each == found[2]), None)
    if operator is None:
        raise _no_operator(name)
    value = found[3]
    if (value is None) != (operator in ("exists", "missing")):
        raise invalid(name, f"{operator} takes {'a' if value is None else 'no'} value; {_HINT}")
    return Condition(field(name, found[1]), operator, _unquoted(value))


def _unquoted(value: str | None) -> str | None:
    if value is not None and re.fullmatch(_QUOTED, value, re.DOTALL):
        return value[1:-1].replace('""', '"')
    return value


def _no_operator(name: str) -> Refused:
    return invalid(name, f"the operators are {', '.join(_OPERATORS)}")
