"""What a filter means: comparisons with one field, and `all` and `either` of them.

A field's value is its text, whatever the type it was sent with, so that `"5"` equals `5` and
`"true"` equals `true`, as in an address or a form where there are no types. JSON's null is the same
as no value. Upper and lower case differ, in keys as well.

- `eq`: the texts are equal; of a parameter a JSON number also equals its other ways of writing:
  `5` equals 5, 5.0, "5" and "5.0", but `05` only "05". `ne`: everything else, no value included.
- `gt`, `lt`, `ge`, `le`: with a number, of the values that read as numbers (`"12.5"` does,
  `true` does not), compared as doubles; with another text, of all values as text, by code point.
  No value is neither greater nor less than anything.
- `contains`: the field's text has this text within it.
- `exists`: there is a value; `missing`: there is none.

A person is who the event's id is of (`joined.py`), and is equal to each of their ids.
"""

from typing import Final, assert_never

from ingest.insights.questions import PERSON, All, Condition, Either, Filter, Selection
from ingest.insights.sql import Values, named, number_of, text_of
from ingest.insights.texts import number, text, ways

_ORDER: Final = {"gt": ">", "lt": "<", "ge": ">=", "le": "<="}
_OF_ANY_ID: Final = ("eq", "ne", "exists", "missing")
"""What is told of a person by the id that an event carries, without a look at whose it is."""


def chosen(selection: Selection, values: Values) -> list[str]:
    """Return the conditions of the events that are meant."""
    conditions = named(selection, values)
    if selection.where is not None:
        conditions.append(condition(selection.where, values))
    return conditions


def condition(question: Filter, values: Values) -> str:
    """Return a filter as SQL that is true of what it means, and false or null of the rest.

    DuckDB skips what can hold nothing of it only where the comparisons stand by themselves.
    """
    match question:
        case All():
            return _joined("AND", "true", question.parts, values)
        case Either():
            return _joined("OR", "false", question.parts, values)
        case Condition():
            return _comparison(question, values)
        case _:
            assert_never(question)


def _joined(word: str, empty: str, parts: tuple[Filter, ...], values: Values) -> str:
    return (
        "(" + f" {word} ".join(condition(part, values) for part in parts) + ")" if parts else empty
    )


def _comparison(question: Condition, values: Values) -> str:
    if question.field == PERSON and question.operator in _OF_ANY_ID:
        field = "person"
    else:
        field = text_of(question.field, values)
    written = "" if question.value is None else text(question.value)
    match question.operator:
        case "exists":
            return f"{field} IS NOT NULL"
        case "missing":
            return f"{field} IS NULL"
        case "eq":
            return _equal(question, field, written, values)
        case "ne":
            return f"NOT coalesce({_equal(question, field, written, values)}, false)"
        case "contains":
            return f"contains({field}, {values.bind(written)})"
        case "gt" | "lt" | "ge" | "le":
            return _ordered(field, question.operator, written, values)
        case _:
            assert_never(question.operator)


def _equal(question: Condition, field: str, written: str, values: Values) -> str:
    if question.field == PERSON:
        return values.is_of(written)
    meant = ways(written) if question.field[0] == "params" else {written}
    return f"{field} IN ({', '.join(values.bind(way) for way in sorted(meant))})"


def _ordered(field: str, operator: str, written: str, values: Values) -> str:
    value = number(written)
    if value is None:
        return f"{field} {_ORDER[operator]} {values.bind(written)}"
    return f"{number_of(field)} {_ORDER[operator]} {values.bind(value)}"
