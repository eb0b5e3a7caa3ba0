"""Who is meant by an id: all ids of that person, as questions about them go by.

Where no archive was ever made nothing is known of who is who, and an id is itself alone.
"""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from uuid import UUID

from ingest.archive.scope import All, Scope
from ingest.store.erasures import IDS_MAX

if TYPE_CHECKING:
    import duckdb


class View(Protocol):
    """The events of one app, as `archive/view.py` has them."""

    @property
    def connection(self) -> "duckdb.DuckDBPyConnection":
        """Where they can be asked for."""

    @property
    def sources(self) -> Sequence[str]:
        """What stands behind FROM."""

    @property
    def links(self) -> str | None:
        """What says which ids are one person's."""


_IDS_SHOWN: Final = 50
_PAGE: Final = 500
EVENTS: Final = Scope(tail=All(has_params=False))
"""Which view is needed to look somebody up."""


OpenView = Callable[[int, Scope], AbstractContextManager[View]]
"""Opens the events of an app, by its number; in a thread. Raises ArchiveTrouble."""


class TooMany(Exception):  # noqa: N818 - an answer
    """So many ids are joined that it is no person's; nothing is done."""


class Events(NamedTuple):
    """How many events there are, and of when."""

    number: int
    earliest: datetime | None
    latest: datetime | None


class Person(NamedTuple):
    """Somebody, as they are known at a moment."""

    ids: list[str]
    """All of theirs; the one that was asked for is the first."""
    events: Events
    """Those in Postgres."""


def is_id(text: str) -> bool:
    """Return whether a text may be somebody's id: not blank, and what Postgres can hold."""
    try:
        return bool(text.encode().strip()) and "\0" not in text
    except UnicodeEncodeError:
        return False


def look_up(view: View, person: str, *, is_alone: bool = False) -> Person:
    """Return whose an id is, or what is stored of it alone; raise TooMany. Blocks."""
    ids = [person] if is_alone else _ids_of(view, person)
    return Person(ids, _count(view, ids))


class Archived(NamedTuple):
    """An event as the archive has it, where it is in a file."""

    id: UUID
    at: datetime
    created_at: datetime
    name: str
    params: str


def events(
    open_view: OpenView, app_id: int, ids: Collection[str]
) -> Generator[list[Archived], None, None]:
    """Yield all events of a person's ids, as of one moment, some at a time."""
    with open_view(app_id, EVENTS) as view:
        columns = 'id, "at", created_at, name, params::JSON::VARCHAR AS params'
        found = _found(view, ids, columns, "SELECT * FROM ({}) ORDER BY id")
        while some := found.fetchmany(_PAGE):
            yield [Archived(*each) for each in some]


def _ids_of(view: View, person: str) -> list[str]:
    if view.links is None:
        return [person]
    from ingest.insights.joined import Joined  # noqa: PLC0415 - DuckDB, for those who ask

    ids = Joined(view.connection, view.links).all_ids_of(person, IDS_MAX + 1)
    if len(ids) > IDS_MAX:
        raise TooMany(f"more than {IDS_MAX:,} ids are joined to it")
    return [person, *(each for each in ids if each != person)]


def _count(view: View, ids: Collection[str]) -> Events:
    ((count, earliest, latest),) = _found(
        view, ids, '"at"', 'SELECT count(*), min("at"), max("at") FROM ({})'
    ).fetchall()
    return Events(count, earliest, latest)


def _found(view: View, ids: Collection[str], column: str, sql: str) -> "duckdb.DuckDBPyConnection":
    """Ask about the events with one of the ids; few are written out, as that is faster."""
    few = ", ".join(f"${n}" for n in range(1, len(ids) + 1))
    one_of = few if len(ids) <= _IDS_SHOWN else "SELECT unnest($1::VARCHAR[])"
    events = " UNION ALL ".join(
        f"SELECT {column} FROM {source} WHERE person IN ({one_of})"  # noqa: S608 - ours
        for source in view.sources
    )
    values = [*ids] if len(ids) <= _IDS_SHOWN else [[*ids]]
    return view.connection.execute(sql.format(events), values)
