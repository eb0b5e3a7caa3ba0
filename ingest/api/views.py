"""What is asked of: one app's events, archive and tail, in DuckDB; and how it is opened."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from ingest.archive.scope import Place, Scope

if TYPE_CHECKING:
    import duckdb

    from ingest.insights.known import Known
    from ingest.insights.sql import Source


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
    def erased(self) -> int:
        """How often some were taken out of them, or of another app's."""

    @property
    def tail_rows(self) -> int:
        """How many of them come from Postgres."""

    @property
    def known(self) -> "Known | None":
        """What is known of them without a look at them."""

    @property
    def links(self) -> str | None:
        """What says which ids are one person's; by another name if it says anything else."""

    @property
    def tail_bytes(self) -> int:
        """Of the parameters of these, if a portion was asked for."""

    @property
    def until(self) -> Place | None:
        """Up to where all is there that was asked for, if that was a portion."""


def source_of(view: View) -> "Source":
    """Return where its events are asked for."""
    from ingest.insights import sql  # noqa: PLC0415 - DuckDB, for those who ask

    return sql.source_of(view.connection, view.sources, view.known, view.links)


OpenView = Callable[[int, Scope], AbstractContextManager[View]]
"""Opens the events of an app, by its number; in a thread. Raises ArchiveTrouble."""
