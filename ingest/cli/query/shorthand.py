"""Fields in short: `plan` for `params.plan`. What the query API takes as it is stays as it is.

So `name` is the event's own name; a parameter that is called so is `params.name`, as ever.
"""

from ingest.api import conditions
from ingest.insights import fields
from ingest.insights.errors import BadQuestion


def field(text: str) -> str:
    """Return a field as the API takes it: with `params.` before it, unless it is one already."""
    try:
        fields.read(text)
    except BadQuestion:
        return f"params.{text}"
    return text


def measure(text: str) -> str:
    """Return a measure with its field, if it has one: of `sum:amount` `sum:params.amount`."""
    word, colon, rest = text.partition(":")
    return f"{word}:{field(rest)}" if colon else text


def where(text: str) -> str:
    """Return a filter with the field of each condition: of `plan:eq:pro` `params.plan:eq:pro`."""
    return conditions.with_fields(text, field)
