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

TextOf = Callable[[str], str]
"""Returns SQL for the text of a parameter, of SQL for its name; NULL for none and for JSON's null.
"""


def of_event(user_field: str, text_of: TextOf) -> str:
    """Return SQL for the id that an event carries, NULL for none; `user_field` is SQL for a name.

    An empty text is nobody's id: some SDKs send one before a sign-in.
    """
    names = (user_field, *(f"'{name}'" for name in _OF_SDKS))
    texts = ", ".join(f"nullif({text_of(name)}, '')" for name in names)
    return f"coalesce({texts})"


def of_row(user_field: str, params: str = "event_params") -> str:
    """Return it for Postgres, of a column of type jsonb."""
    return of_event(user_field, lambda name: f"{params} ->> {name}")
