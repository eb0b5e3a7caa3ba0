"""Which files count: the rows of `archive_files`. A file that is not named there is none."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from ingest.archive.failures import Overtaken
from ingest.archive.rows import literal, microseconds
from ingest.archive.workspace import Workspace

_COLUMNS: Final = (
    "name, app_id, rows, at_min, at_max, mark, bytes, sha256, user_field, names, has_links, id_min,"
    " id_max"
)
_READ: Final = (
    f"SELECT name, app_id, rows, {microseconds('at_min')},"
    f" {microseconds('at_max')}, mark, bytes, encode(sha256, 'hex'), user_field, has_links,"
    " id_min::text, id_max::text"
    " FROM archive_files"
)


class NameCount(NamedTuple):
    """How often a name is somewhere, and when last, in microseconds since 1970."""

    name: str
    events: int
    latest_us: int


class File(NamedTuple):
    """A file that counts."""

    name: str
    app_id: int
    rows: int
    at_min_us: int
    """The least time of an event in it, since 1970."""
    at_max_us: int
    mark: int
    """Up to where the archive was when it was named."""
    bytes: int
    sha256: str
    user_field: str
    """By which its column `person` was made."""
    has_links: bool = True
    """Whether the links of its events are in `person_links`: not of a version before them."""
    id_min: str | None = None
    """The least id of an event in it; None if that is not known: of a version before."""
    id_max: str | None = None
    names: str | None = None
    """Its NameCounts as JSON, to be named with it; None of too many names, and where it was read.
    """


def read_all(workspace: Workspace) -> list[File]:
    """Return all files, in the order of their names; raise ArchiveTrouble."""
    return [File(*row) for row in workspace.rows(f"{_READ} ORDER BY name")]


def read_of_app(
    workspace: Workspace, app_id: int, start: datetime | None, end: datetime | None
) -> list[File]:
    """Return the files that may hold events of an app of [start, end); raise ArchiveTrouble."""
    conditions = [f"app_id = {int(app_id)}", *within("at_max", "at_min", start, end)]
    return [File(*row) for row in workspace.rows(f"{_READ} WHERE {' AND '.join(conditions)}")]


def read_names(workspace: Workspace, files: Sequence[File]) -> dict[str, list[NameCount]]:
    """Return how often each name is in files, by file; not of those of which that is not known.

    Raises ArchiveTrouble.
    """
    found = read_name_texts(workspace, files).items()
    return {name: msgspec.json.decode(names, type=list[NameCount]) for name, names in found}


def read_name_texts(workspace: Workspace, files: Sequence[File]) -> dict[str, str]:
    """Return the same as JSON."""
    if not files:
        return {}
    listed = ", ".join(literal(each.name) for each in files)
    return dict(
        workspace.rows(
            f"SELECT name, names FROM archive_files WHERE name IN ({listed}) AND names IS NOT NULL"
        )
    )


def within(least: str, most: str, start: datetime | None, end: datetime | None) -> list[str]:
    """Return a range of time as SQL: `least` is not before it, `most` not behind."""
    conditions = []
    if start is not None:
        conditions.append(f"{least} >= {moment(start)}")
    if end is not None:
        conditions.append(f"{most} < {moment(end)}")
    return conditions


def moment(value: datetime) -> str:
    """Return a time as SQL; one without a zone is refused with a ValueError."""
    if value.tzinfo is None:
        raise ValueError("a time needs a zone")
    return literal(value.isoformat()) + "::timestamptz"


def name(workspace: Workspace, files: Sequence[File]) -> None:
    """Have files count from the end of the transaction on; raise ArchiveTrouble."""
    if not files:
        return
    values = ", ".join(
        f"({literal(each.name)}, {each.app_id}, {each.rows}, {_time(each.at_min_us)},"
        f" {_time(each.at_max_us)}, {each.mark}, {each.bytes}, '\\x{each.sha256}'::bytea,"
        f" {literal(each.user_field)}, {'NULL' if each.names is None else literal(each.names)},"
        f" true, {_id(each.id_min)}, {_id(each.id_max)})"
        for each in files
    )
    workspace.execute(f"INSERT INTO archive_files ({_COLUMNS}) VALUES {values}")


def unname(workspace: Workspace, names: Iterable[str]) -> None:
    """Have files count no more; raise Overtaken if one of them has not."""
    wanted = list(names)
    listed = ", ".join(map(literal, wanted))
    if not wanted:
        return
    gone = workspace.execute(f"DELETE FROM archive_files WHERE name IN ({listed})")
    if gone != len(wanted):
        raise Overtaken("another process has changed the files of the archive meanwhile")


def set_ids(workspace: Workspace, name: str, id_min: str, id_max: str) -> None:
    """Say which ids a file has of which that was not known; raise ArchiveTrouble."""
    columns = _COLUMNS.replace(", id_min, id_max", "")
    workspace.execute(
        f"WITH found AS (DELETE FROM archive_files WHERE name = {literal(name)} RETURNING *)"
        f" INSERT INTO archive_files ({_COLUMNS})"
        f" SELECT {columns}, {_id(id_min)}, {_id(id_max)} FROM found"
    )


def _id(text: str | None) -> str:
    return f"{literal(text)}::uuid" if text else "NULL::uuid"


def _time(microseconds: int) -> str:
    return f"timestamptz 'epoch' + {microseconds} * interval '1 microsecond'"
