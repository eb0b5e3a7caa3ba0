"""What is asked of: one app's events, archive and tail, in DuckDB; and how it is opened."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import duckdb

    from ingest.insights.known import Known


class View(Protocol):
    """The events of one app, all of one moment."""

    @property
    def connection(self) -> "duckdb.DuckDBPyConnection":
        """Where they can be asked for."""

    @property
    def sources(self) -> Sequence[str]:
        """What stands behind FROM."""

    @property
    def as_of(self) -> datetime:
        """Of which moment they are."""

    @property
    def mark(self) -> int:
        """Up to where they come from the archive."""

    @property
    def tail_rows(self) -> int:
        """How many of them come from Postgres."""

    @property
    def known(self) -> "Known | None":
        """What is known of them without a look at them."""


OpenView = Callable[[int, datetime | None, datetime | None], AbstractContextManager[View]]
"""Opens the events of an app and a time, by its number; in a thread. Raises Unavailable."""
