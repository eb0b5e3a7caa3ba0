"""A table that rows are copied into, as the layers above describe it."""

from typing import NamedTuple


class Column(NamedTuple):
    """One column of a table."""

    name: str
    sql_type: str
    """As Postgres names it, for example `timestamptz`."""


class Table(NamedTuple):
    """A table, in the order in which its rows come."""

    name: str
    primary_key: tuple[str, ...]
    """The columns of its primary key."""
    columns: tuple[Column, ...]

    @property
    def column_list(self) -> str:
        """Return the names of all columns, for a statement."""
        return ", ".join(column.name for column in self.columns)
