"""Who did it: the id that an event carries, as SQL over its parameters, or read from a document.

An app's user field says it. Where an event has none, what its SDK says does: a user's id, or else
the anonymous one (`ingest/http/protocols` has where each is kept).
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

_OF_SDKS: Final = (
    "$user_id",
    "$anonymous_id",
    "distinct_id",
    "$distinct_id",
    "$profile_id",
    "$device_id",
)

_NOBODY: Final = (
    "", "-1", "0", "anonymous", "distinct_id", "distinctid", "email", "false", "guest", "id", "nan",
    "nil", "none", "not_authenticated", "null", "true", "undefined", "unknown", "user", "user_id",
    "[object object]", "00000000-0000-0000-0000-000000000000",
)  # fmt: skip
"""What clients say for an id that they don't know, in small letters."""

TextOf = Callable[[str], str]
"""Returns SQL for the text of a parameter, of SQL for its name; NULL for none and for JSON's null.
"""


def of_event(user_field: str, text_of: TextOf) -> str:
    """Return SQL for the id that an event carries, NULL for none; `user_field` is SQL for a name.

    An empty text is nobody's id: some SDKs send one before a sign-in. So is what an SDK says that
    is no id, so that the next one of its ids counts; in a user field the app says it.
    """
    texts = (text_of(f"'{name}'") for name in _OF_SDKS)
    of_sdk = ", ".join(f"CASE WHEN {is_somebody(text)} THEN {text} END" for text in texts)
    return f"coalesce(nullif({text_of(user_field)}, ''), {of_sdk})"


def is_somebody(text: str) -> str:
    """Return SQL, for Postgres and for DuckDB, that is true of what may be somebody's id."""
    nobody = ", ".join(f"'{each}'" for each in _NOBODY)
    return f"lower(trim({text})) NOT IN ({nobody})"


def of_row(user_field: str, params: str = "event_params") -> str:
    """Return it for Postgres, of a column of type jsonb."""
    return of_event(user_field, lambda name: f"{params} ->> {name}")


def of_document(user_field: str, params: str) -> str | None:
    """Return what `of_row` does of parameters that are not in Postgres yet, as they were sent.

    Raises ValueError for what is no JSON object.
    """
    found = json.loads(params, parse_int=Decimal, parse_float=Decimal, parse_constant=str)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - of a document
    if text := _text_of(found, user_field):
        return text
    texts = (_text_of(found, name) for name in _OF_SDKS)
    return next((text for text in texts if text is not None and _is_somebody(text)), None)


def _text_of(params: Mapping[str, Any], name: str) -> str | None:
    """Return the text of a parameter as `->>` has it."""
    value = params.get(name)
    if value is None or isinstance(value, str):
        return value
    return _printed(value)


def _printed(value: object) -> str:
    """Return a value as jsonb prints it: shorter keys first, numbers without an exponent."""
    match value:
        case Decimal():
            return format(value or abs(value), "f")
        case list():
            return f"[{', '.join(map(_printed, value))}]"
        case dict():
            ordered = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
            return f"{{{', '.join(f'{_printed(key)}: {_printed(value[key])}' for key in ordered)}}}"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _is_somebody(text: str) -> bool:
    return text.strip(" ").lower() not in _NOBODY
