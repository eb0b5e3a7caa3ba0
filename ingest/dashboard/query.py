"""The query of a page's address: it is the page's question, and each link changes a part of it.

A filter is added by three fields of a form, which a page's address has no place for: such an
address leads on to the one that has the filter as the query API writes it.
"""

from typing import Final
from urllib.parse import urlencode

from ingest.dashboard.replies import Elsewhere
from ingest.dashboard.routes import Visit
from ingest.insights.questions import Operator

FIELD: Final = "filter_field"
OPERATOR: Final = "filter_operator"
VALUE: Final = "filter_value"
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


def pairs(visit: Visit) -> Pairs:
    """Return what the address has, but for what is empty."""
    return [(name, value) for name, value in visit.request.query.items() if value]


def link(visit: Visit, **changes: str | list[str] | None) -> str:
    """Return the page's address with some parameters changed; None takes one away."""
    kept = [(name, value) for name, value in pairs(visit) if name not in changes]
    return address(visit.request.path_qs.partition("?")[0], kept + _flat(changes))


def without(visit: Visit, name: str, value: str) -> str:
    """Return the page's address without one of the values of a parameter."""
    kept = pairs(visit)
    if (name, value) in kept:
        kept.remove((name, value))
    return address(visit.request.path_qs.partition("?")[0], kept)


def address(path: str, query: Pairs) -> str:
    """Return a path with a query, if there is one."""
    return f"{path}?{urlencode(query)}" if query else path


def canonical(visit: Visit) -> Elsewhere | None:
    """Return where a page is whose address adds a filter, or has empty fields; None if it is so."""
    given = visit.request.query
    if all(given.values()) and FIELD not in given:
        return None
    kept = [each for each in pairs(visit) if each[0] not in (FIELD, OPERATOR, VALUE)]
    if field := given.get(FIELD, ""):
        kept.append(("where", condition(field, given.get(OPERATOR, "eq"), given.get(VALUE, ""))))
    return Elsewhere(address(visit.request.path_qs.partition("?")[0], kept))


def condition(field: str, operator: str, value: str) -> str:
    """Return a filter as the query API writes it."""
    if operator in ("exists", "missing"):
        return f"{field}:{operator}"
    return f"{field}:{operator}:{_quoted(value)}"


def _quoted(value: str) -> str:
    if "|" in value or value.startswith('"'):
        return '"' + value.replace('"', '""') + '"'
    return value


def _flat(changes: dict[str, str | list[str] | None]) -> Pairs:
    return [
        (name.rstrip("_"), each)
        for name, value in changes.items()
        for each in ([value] if isinstance(value, str) else value or [])
    ]
