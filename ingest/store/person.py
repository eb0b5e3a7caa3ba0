"""Who did it: the id that an event carries, as SQL over its parameters.

An app's user field says it. Where an event has none, what its SDK says does: a user's id, or else
the anonymous one (`ingest/http/protocols` has where each is kept).
"""

from collections.abc import Callable
from typing import Final

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
