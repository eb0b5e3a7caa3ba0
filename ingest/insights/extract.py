"""Events in their order (`places.py`), page by page; and as a file."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from ingest.insights import filters
from ingest.insights.calendar import moment
from ingest.insights.places import Extract, Row
from ingest.insights.questions import Cursor
from ingest.insights.sql import Source, Values, within

_HOUR_US: Final = 3_600_000_000
_AT_US: Final = 'epoch_us("at")'
_JSON: Final = "CAST(CAST(params AS JSON) AS VARCHAR)"
_ROW: Final = {
    "id": "id",
    "at_us": _AT_US,
    "created_us": "epoch_us(created_at)",
    "name": "name",
    "person": "person",
    "params": _JSON,
}
_FILE: Final = {name: f'"{name}"' for name in ("id", "at", "created_at", "name", "person")}


def place_of(source: Source, extract: Extract, event_id: UUID) -> Cursor | None:
    """Return where an event of a range lies; None if there is none of that id."""
    values = Values()
    where = [f"id = {values.bind(event_id)}", *within(extract.start, extract.end, values)]
    found = source.rows(source.leaves({"at_us": _AT_US}, where), values)
    return Cursor(moment(found[0][0]), event_id) if found else None


def hours(source: Source, extract: Extract) -> Sequence[tuple[datetime, int]]:
    """Return the beginnings of the hours that have events, in order, and how many each has."""
    values = Values()
    leaves = source.leaves({"hour": f"{_AT_US} // {_HOUR_US}"}, _conditions(extract, values))
    sql = f"SELECT hour, count(*) FROM ({leaves}) GROUP BY hour ORDER BY hour"
    return [(moment(hour * _HOUR_US), count) for hour, count in source.rows(sql, values)]


def page(source: Source, extract: Extract, limit: int) -> list[Row]:
    """Return the first so many of the events, in order.

    Where the last of them lies is found first, so that no parameters are read but theirs.
    """
    last = _place_at(source, extract, limit)
    if last is None:
        return []
    values = Values()
    until = _up_to(last, values)
    leaves = source.leaves(_ROW, [*_conditions(extract, values), *until])
    sql = f"SELECT * FROM ({leaves}) ORDER BY at_us, id"
    return [
        Row(row[0], moment(row[1]), moment(row[2]), *row[3:]) for row in source.rows(sql, values)
    ]


def _place_at(source: Source, extract: Extract, limit: int) -> Cursor | None:
    """Return the place of the last of the first so many events; None if there are none."""
    values = Values()
    leaves = source.leaves({"at_us": _AT_US, "id": "id"}, _conditions(extract, values))
    first = f"SELECT * FROM ({leaves}) ORDER BY at_us, id LIMIT {values.bind(limit)}"
    found = source.rows(f"SELECT * FROM ({first}) ORDER BY at_us DESC, id DESC LIMIT 1", values)
    return Cursor(moment(found[0][0]), found[0][1]) if found else None


def _up_to(place: Cursor, values: Values) -> list[str]:
    at, event_id = values.bind(place.at), values.bind(place.id)
    return [f'"at" <= {at}', f'("at" < {at} OR id <= {event_id})']


def copy_to(source: Source, extract: Extract, path: str, *, as_variant: bool) -> None:
    """Write the events to a new Parquet file, in no certain order; parameters are JSON text.

    Or VARIANT, which few readers know.
    """
    values = Values()
    columns = {**_FILE, "params": "params" if as_variant else _JSON}
    quoted = {f'"{name}"': sql for name, sql in columns.items()}
    leaves = source.leaves(quoted, _conditions(extract, values))
    sql = (
        f"COPY ({leaves}) TO {values.bind(path)}"
        " (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20000)"
    )
    source.rows(sql, values)


def _conditions(extract: Extract, values: Values) -> list[str]:
    found = [*filters.chosen(extract.selection, values), *within(*extract.reach, values)]
    if extract.after is not None:
        at, event_id = values.bind(extract.after.at), values.bind(extract.after.id)
        found.append(f'("at" > {at} OR id > {event_id})')
    return found
