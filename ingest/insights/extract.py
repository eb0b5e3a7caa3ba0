"""Events in their order (`places.py`), page by page; and as a file."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from ingest.insights import filters
from ingest.insights.calendar import moment
from ingest.insights.places import Extract, Page, Row
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
    values = source.values()
    where = [f"id = {values.bind(event_id)}", *within(extract.start, extract.end, values)]
    found = source.rows(source.leaves({"at_us": _AT_US}, where), values)
    return Cursor(moment(found[0][0]), event_id) if found else None


def hours(source: Source, extract: Extract) -> Sequence[tuple[datetime, int]]:
    """Return the beginnings of the hours that have events, in order, and how many each has."""
    values = source.values()
    leaves = source.leaves({"hour": f"{_AT_US} // {_HOUR_US}"}, _conditions(extract, values))
    sql = f"SELECT hour, count(*) FROM ({leaves}) GROUP BY hour ORDER BY hour"
    return [(moment(hour * _HOUR_US), count) for hour, count in source.rows(sql, values)]


def page(source: Source, extract: Extract, limit: int) -> Page:
    """Return the first so many of the events, in order; they are read as they are taken.

    Where the last of them lies is found first, so that no parameters are read but theirs.
    """
    last, count = _last_of_first(source, extract, limit)
    if last is None:
        return Page(iter(()), extract.until)
    end = last if count == limit else extract.until
    return Page(_rows(source, extract._replace(until=last)), end)


def _rows(source: Source, extract: Extract) -> Iterator[Row]:
    values = source.values()
    leaves = source.leaves(_ROW, _conditions(extract, values))
    for row in source.stream(f"SELECT * FROM ({leaves}) ORDER BY at_us, id", values):
        yield Row(row[0], moment(row[1]), moment(row[2]), *row[3:])


def _last_of_first(source: Source, extract: Extract, limit: int) -> tuple[Cursor | None, int]:
    """Return the place of the last of the first so many events, and how many these are."""
    values = source.values()
    leaves = source.leaves({"at_us": _AT_US, "id": "id"}, _conditions(extract, values))
    first = f"SELECT * FROM ({leaves}) ORDER BY at_us, id LIMIT {values.bind(limit)}"
    sql = f"SELECT *, count(*) OVER () FROM ({first}) ORDER BY at_us DESC, id DESC LIMIT 1"
    for at_us, event_id, count in source.rows(sql, values):
        return Cursor(moment(at_us), event_id), count
    return None, 0


def copy_to(source: Source, extract: Extract, path: str, *, as_variant: bool) -> None:
    """Write the events to a new Parquet file, in no certain order; parameters are JSON text.

    Or VARIANT, which few readers know.
    """
    values = source.values()
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
    if extract.until is not None:
        at, event_id = values.bind(extract.until.at), values.bind(extract.until.id)
        found += [f'"at" <= {at}', f'("at" < {at} OR id <= {event_id})']
    return found
