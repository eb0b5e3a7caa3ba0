"""Apps: whose events they are, and what holds for all events of one.

Every field is a column of the table `apps`, read together with the API keys: so what is to hold by
app is a column, a field here with a default, and whoever heeds it.
"""

from typing import Any, Final, NamedTuple


class App(NamedTuple):
    """One app, as its valid keys name it."""

    id: int
    name: str = ""
    """Empty only when keys were kept by a version that did not know it."""


SELECTED: Final = ", ".join(f"apps.{name} AS app_{name}" for name in App._fields)
"""What a statement selects for `read`."""


def read(row: Any) -> App:  # noqa: ANN401 - a record by column names
    """Return the app that a row with the columns SELECTED names."""
    return App(*(row[f"app_{name}"] for name in App._fields))
