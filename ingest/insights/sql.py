"""SQL over the sources of one app's events: each value is bound, and each name written once.

A source is what may stand after FROM, with the columns `id`, `at`, `created_at`, `name`, `person`
and `params`; all of them together are the events. What a question takes of a parameter is taken
directly above each source: DuckDB 2.0 reads one parameter alone only there (12 ms of CPU a million
events), and through a view or a union all of them (1,300 ms).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import duckdb
import msgspec

from ingest.insights.calendar import Buckets
from ingest.insights.joined import FEW, Joined
from ingest.insights.known import Known
from ingest.insights.questions import Path, Selection

_TEXT: Final = "CAST(value AS VARCHAR)"
_JSON: Final = "CAST(value AS JSON)"
# By way of JSON, at up to thirty times the price: the cast above raises for all events if one has
# an object whose keys differ in upper and lower case alone.
_TEXT_OF_ANY: Final = (
    f"CASE json_type({_JSON}) WHEN 'DOUBLE' THEN CAST(CAST({_JSON} AS DOUBLE) AS VARCHAR)"
    f" ELSE {_JSON} ->> '$' END"
)

_ROWS_AT_ONCE: Final = 500

_Fetch = Callable[[duckdb.DuckDBPyConnection], list[tuple[Any, ...]]]


class Source(msgspec.Struct, frozen=True):
    """Where a question is asked: a connection, and what to write after FROM, part by part."""

    connection: duckdb.DuckDBPyConnection
    parts: tuple[str, ...]
    known: Known | None = None
    """What is known of all of them together."""
    joined: Joined | None = None
    """The ids that are another person's; None if there are none."""

    def rows(self, sql: str, values: "Values") -> list[tuple[Any, ...]]:
        """Return what a statement returns; it is ended by the connection's `interrupt`."""
        return self._begun(sql, values, lambda begun: begun.fetchall())

    def stream(self, sql: str, values: "Values") -> Iterator[tuple[Any, ...]]:
        """Yield it as it is taken, some rows in memory at a time; nothing else is asked meanwhile.

        The statement has to sort, so that all of it was read before its first row is there.
        """
        some = self._begun(sql, values, lambda begun: begun.fetchmany(_ROWS_AT_ONCE))
        while some:
            yield from some
            some = self.connection.fetchmany(_ROWS_AT_ONCE)

    def _begun(self, sql: str, values: "Values", fetch: _Fetch) -> list[tuple[Any, ...]]:
        """Return what is fetched of a statement, texts in the usual way or in that of any."""
        try:
            return fetch(self._execute(sql, values, _TEXT))
        except duckdb.NotImplementedException:
            return fetch(self._execute(sql, values, _TEXT_OF_ANY))

    def _execute(self, sql: str, values: "Values", text: str) -> duckdb.DuckDBPyConnection:
        self.connection.execute(
            f"CREATE OR REPLACE TEMP MACRO text_of(value) AS {text};"
            f" CREATE OR REPLACE TEMP MACRO person_of(id) AS {self._person}"
        )
        return self.connection.execute(sql, values.bound)

    def leaves(self, columns: Mapping[str, str], where: Sequence[str]) -> str:
        """Return a SELECT of all events of which each of `where` is true.

        Its column `person` is who that is, whatever id the event carries.
        """
        chosen = ", ".join(f"{sql} AS {alias}" for alias, sql in columns.items())
        condition = " AND ".join(where) or "true"
        events = " UNION ALL ".join(
            f"SELECT {chosen} FROM {part} WHERE {condition}" for part in self.parts
        )
        return self._told(events) if {"person", '"person"'} & set(columns) else events

    def _told(self, events: str) -> str:
        """Return events by their persons; above the leaves, where nothing else is read for it."""
        if self.joined is None:
            return events
        return f"""SELECT event.* REPLACE (coalesce(joined.person, event.person) AS person)
            FROM ({events}) AS event
            LEFT JOIN {self.joined.table} AS joined ON joined.id = event.person"""

    @property
    def _person(self) -> str:
        """Return SQL for the person of `id`."""
        if self.joined is None:
            return "id"
        found = f"SELECT told FROM {self.joined.table} AS one (carried, told) WHERE carried = id"
        return f"coalesce(({found}), id)"

    def values(self) -> "Values":
        """Return the values of a new statement."""
        return Values(self.joined)


def source_of(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[str],
    known: Known | None = None,
    links: str | None = None,
) -> Source:
    """Return where a question is asked; `links` is a relation of those (`joined.py`)."""
    joined = Joined(connection, links) if links else None
    return Source(connection, tuple(parts), known, joined)


class Values:
    """The values of one statement, each bound once."""

    def __init__(self, joined: Joined | None = None) -> None:
        """Begin with none."""
        self.bound: list[Any] = []
        self._joined = joined

    def bind(self, value: Any) -> str:  # noqa: ANN401 - whatever DuckDB takes
        """Keep a value, and return what stands for it in the statement."""
        self.bound.append(value)
        return f"${len(self.bound)}"

    def is_of(self, person: str) -> str:
        """Return the condition that an event carries an id of a person."""
        ids = [person] if self._joined is None else self._joined.ids_of(person)
        if self._joined is None or len(ids) <= FEW:
            return f"person IN ({', '.join(map(self.bind, ids))})"
        told = self.bind(ids[0])
        return (
            f"(person = {told} OR person IN"
            f" (SELECT id FROM {self._joined.table} AS one (id, told) WHERE told = {told}))"
        )


def text_of(path: Path, values: Values) -> str:
    """Return the text of a field: NULL where it is missing, or JSON's null.

    A number's text is the shortest that reads as it, with a fraction or an exponent where it was
    not sent as a whole one; that of a list or an object is of no certain form.
    """
    if path[0] != "params":
        return "person_of(person)" if path[0] == "person" else f'"{path[0]}"'
    sql = "params"
    for key in path[1:]:
        sql = f"variant_extract({sql}, {values.bind(key)})"
    return f"text_of({sql})"


def number_of(text: str) -> str:
    """Return the number that a text reads as: NULL for none, and for what no double holds."""
    number = f"TRY_CAST({text} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def bucket_of(calendar: Buckets, values: Values) -> str:
    """Return the place of the bucket that an event lies in, from 0; for events within the range."""
    origin, step, places = calendar.grid()
    steps = f'(epoch_us("at") - {origin}) // {step}'
    if places == list(range(len(places))):
        return steps
    return f"list_extract({values.bind(places)}, 1 + {steps})"


def within(start: datetime | None, end: datetime | None, values: Values) -> list[str]:
    """Return the conditions of a half-open range of time."""
    conditions = []
    if start is not None:
        conditions.append(f'"at" >= {values.bind(start)}')
    if end is not None:
        conditions.append(f'"at" < {values.bind(end)}')
    return conditions


def named(selection: Selection, values: Values) -> list[str]:
    """Return the condition of a name, if one is asked for."""
    return [] if selection.name is None else [f"name = {values.bind(selection.name)}"]
