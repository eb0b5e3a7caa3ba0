"""The query of a page's address: it is the page's question, and each link changes a part of it.

A filter is added by three fields of a form, a range and a measure are chosen by two each, which a
page's address has no place for: such an address leads on to the one that has them as the query API
writes them.
"""

from typing import Final, NamedTuple
from urllib.parse import urlencode

from ingest.api import conditions
from ingest.api.refusals import Refused
from ingest.dashboard import ranges
from ingest.dashboard.replies import Elsewhere
from ingest.dashboard.routes import Visit
from ingest.insights import fields
from ingest.insights.errors import BadQuestion
from ingest.insights.questions import All, Condition, Either, Filter, Operator
from ingest.insights.texts import text

FIELD: Final = "filter_field"
OPERATOR: Final = "filter_operator"
VALUE: Final = "filter_value"
FIRST: Final = "first_day"
LAST: Final = "last_day"
MEASURE: Final = "measure_of"
MEASURED: Final = "measured"
BREAKDOWN: Final = "by"
_OF_FORMS: Final = (FIELD, OPERATOR, VALUE, FIRST, LAST, MEASURE, MEASURED, BREAKDOWN)
CURSOR: Final = "before"
"""Where a page of a list begins: of another question it is another place."""
OPERATORS: Final[dict[Operator, str]] = {
    "eq": "is",
    "ne": "is not",
    "contains": "contains",
    "gt": "is more than",
    "ge": "is at least",
    "lt": "is less than",
    "le": "is at most",
    "exists": "is there",
    "missing": "is not there",
}
"""As people say it, in the order of use."""

Pairs = list[tuple[str, str]]


class Phrase(NamedTuple):
    """A condition as people say it; without a value where its operator takes none."""

    field: str
    operator: str
    value: str | None


def pairs(visit: Visit) -> Pairs:
    """Return what the address has, but for what is empty."""
    return [(name, value) for name, value in visit.request.query.items() if value]


def link(visit: Visit, **changes: str | list[str] | None) -> str:
    """Return the page's address with some parameters changed; None takes one away.

    A name that is a word of Python has a `_` behind it. A list begins anew.
    """
    changed = {name.rstrip("_"): value for name, value in ({CURSOR: None} | changes).items()}
    kept = [(name, value) for name, value in pairs(visit) if name not in changed]
    return address(_path(visit), kept + _flat(changed))


def with_filter(visit: Visit, field: str, operator: str, value: str = "") -> str:
    """Return the page's address with one more filter, unless it has that."""
    where = [value for name, value in pairs(visit) if name == "where"]
    added = condition(field, operator, value)
    return link(visit, where=where if added in where else [*where, added])


def without(visit: Visit, name: str, value: str) -> str:
    """Return the page's address without one of the values of a parameter."""
    kept = [each for each in pairs(visit) if each[0] != CURSOR]
    if (name, value) in kept:
        kept.remove((name, value))
    return address(_path(visit), kept)


def address(path: str, query: Pairs) -> str:
    """Return a path with a query, if there is one."""
    return f"{path}?{urlencode(query)}" if query else path


def canonical(visit: Visit) -> Elsewhere | None:
    """Return where a page is whose address is a form's, or has empty fields; raise Refused."""
    given = visit.request.query
    if all(given.values()) and not any(name in given for name in _OF_FORMS):
        return None
    kept = [each for each in pairs(visit) if each[0] not in _OF_FORMS]
    if field := given.get(FIELD, ""):
        kept.append(("where", condition(field, given.get(OPERATOR, "eq"), given.get(VALUE, ""))))
    if days := ranges.to_days(given.get(FIRST, ""), given.get(LAST, "")):
        kept = [each for each in kept if each[0] not in ranges.PARAMETERS] + days
    kept += _measure(given.get(MEASURE, ""), given.get(MEASURED, ""))
    kept += [("breakdown", _field(field))] if (field := given.get(BREAKDOWN, "")) else []
    return Elsewhere(address(_path(visit), kept))


def _measure(word: str, field: str) -> Pairs:
    """Return what an address has for a measure; nothing for the usual one."""
    if word in ("", "count"):
        return []
    return [("measure", word if word == "people" else f"{word}:{_field(field) if field else ''}")]


def condition(field: str, operator: str, value: str) -> str:
    """Return a filter as the query API writes it; the field of a parameter may be in short."""
    if operator in ("exists", "missing"):
        return f"{_field(field)}:{operator}"
    return f"{_field(field)}:{operator}:{_quoted(value)}"


def phrases(where: str) -> list[Phrase]:
    """Return a filter in words, of which one has to be true; nothing of what is no filter."""
    try:
        return _phrases(conditions.read_all("where", [where]))
    except Refused:
        return []


def short(field: str) -> str:
    """Return a field as it is shown: `plan` of `params.plan`; `params.name` is not the name."""
    key = field.removeprefix("params.")
    return field if key in ("name", "person") else key


def _phrases(where: Filter | None) -> list[Phrase]:
    match where:
        case Condition(path, operator, value):
            field = short(fields.write(path))
            return [Phrase(field, OPERATORS[operator], None if value is None else text(value))]
        case Either(parts) | All(parts):
            return [phrase for part in parts for phrase in _phrases(part)]
        case None:
            return []


def _field(written: str) -> str:
    """Return a field as the query API has it; what reads as none is the key of a parameter."""
    for each in (written, f"params.{written}"):
        try:
            return fields.write(fields.read(each))
        except BadQuestion:
            continue
    return fields.write(("params", written))


def _quoted(value: str) -> str:
    if "|" in value or value.startswith('"'):
        return '"' + value.replace('"', '""') + '"'
    return value


def _path(visit: Visit) -> str:
    return visit.request.path_qs.partition("?")[0]


def _flat(changes: dict[str, str | list[str] | None]) -> Pairs:
    return [
        (name, each)
        for name, value in changes.items()
        for each in ([value] if isinstance(value, str) else value or [])
    ]
