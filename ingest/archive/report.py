"""How the archive is, for people and for metrics: what it holds, and what keeps it behind."""

from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from ingest.archive import founding, manifest, rows, state
from ingest.archive.directory import Directory
from ingest.archive.state import State
from ingest.archive.workspace import Workspace

_TIMEOUT_S: Final = 60.0
# A transaction that has written keeps what came after it from settling.
_HOLDING: Final = (
    "SELECT pid::text, extract(epoch FROM now() - xact_start)::bigint FROM pg_stat_activity"
    " WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
    " UNION ALL SELECT 'prepared ' || gid, extract(epoch FROM now() - prepared)::bigint"
    " FROM pg_prepared_xacts WHERE database = current_database() ORDER BY 2 DESC LIMIT 1"
)
_STORED: Final = (
    "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class"
    " JOIN pg_partition_tree('events') ON relid = pg_class.oid WHERE isleaf"
)


class OfApp(NamedTuple):
    """What the archive holds of one app."""

    app: str
    files: int
    events: int
    bytes: int
    at_min: datetime
    at_max: datetime


class Report(NamedTuple):
    """How the archive is."""

    archive_id: str
    directory: Path
    trouble: str
    """What keeps it from being asked; empty if nothing does."""
    mark: int
    apps: list[OfApp]
    tail: int
    """Events that are not in it yet, as far as they were counted."""
    is_whole_tail: bool
    """Whether all of them were counted."""
    stored_estimate: int
    """About how many events Postgres has, as it last analyzed its tables."""
    age_s: float
    """Since somebody worked on it."""
    holding: str
    """The transaction that keeps rows from settling, in words; empty for none."""

    @property
    def events(self) -> int:
        """How many events it holds."""
        return sum(each.events for each in self.apps)


def make(workspace: Workspace, path: Path, tail_max: int) -> Report:
    """Return how the archive is, counting at most `tail_max` of what it lacks.

    Raises ArchiveTrouble.
    """
    with workspace.transaction(_TIMEOUT_S, commits=False):
        found = state.read(workspace)
        directory = Directory(path, found.archive_id)
        tail = _count_tail(workspace, found, tail_max)
        return Report(
            found.archive_id,
            directory.place,
            _trouble(workspace, found, directory),
            found.mark,
            _apps(workspace),
            min(tail, tail_max),
            tail <= tail_max,
            int(workspace.rows(_STORED)[0][0]),
            found.age_s,
            _holding(workspace),
        )


def _trouble(workspace: Workspace, found: State, directory: Directory) -> str:
    if found.is_new:
        return "no archive was made yet"
    if found.has_moved:
        return "the database was restored or has failed over: it is going to be made anew"
    if not directory.is_there:
        return f"it is not in {directory.place.parent}"
    return founding.damage(directory, manifest.read_all(workspace))


def _count_tail(workspace: Workspace, found: State, tail_max: int) -> int:
    parts = (f"(SELECT 1 FROM events WHERE {each} LIMIT {tail_max + 1})" for each in found.tail)
    counted = " UNION ALL ".join(parts)
    return int(workspace.rows(f"SELECT count(*) FROM ({counted}) AS tail")[0][0])


def _apps(workspace: Workspace) -> list[OfApp]:
    found = workspace.rows(
        "SELECT coalesce(apps.name, archive_files.app_id::text), count(*), sum(rows)::bigint,"
        f" sum(bytes)::bigint, {rows.microseconds('min(at_min)')},"
        f" {rows.microseconds('max(at_max)')} FROM archive_files"
        " LEFT JOIN apps ON apps.id = archive_files.app_id GROUP BY 1 ORDER BY 1"
    )
    return [
        OfApp(app, files, events, size, rows.time_of(least), rows.time_of(most))
        for app, files, events, size, least, most in found
    ]


def _holding(workspace: Workspace) -> str:
    found = workspace.rows(_HOLDING)
    return f"process {found[0][0]}, for {found[0][1]} s" if found else ""
