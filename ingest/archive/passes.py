"""A pass: what has settled in Postgres goes into files, and counts with one commit.

All of it is one transaction of Postgres, in whose snapshot the rows are read, and which has the
lock of those who archive. Its order is the promise: files synced, then their directory, then the
commit that names them and moves the mark. Whatever ends it before leaves files that are nobody's.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from ingest.archive import horizon, late, links, manifest, resent, rows, state, window, writing
from ingest.archive.directory import Directory
from ingest.archive.failures import NotHere, Occupied
from ingest.archive.manifest import File
from ingest.archive.state import State
from ingest.archive.window import Window
from ingest.archive.workspace import Workspace
from ingest.store.erasing import ARCHIVE_LOCK

LOCK: Final = ARCHIVE_LOCK
ROWS_MAX: Final = writing.SPAN_ROWS
"""About so many rows a pass takes."""
TIMEOUT_S: Final = 900.0
BEAT_S: Final = 60.0
"""So often at least the state is written, that others see that somebody archives."""

_OF_APP: Final = f"coalesce(apps.user_field, '{rows.USER_FIELD}')"


class Passed(NamedTuple):
    """What a pass did."""

    rows: int
    files: int
    is_last: bool
    """Whether nothing more had settled when it began."""
    without: int
    """Events whose parameters are too long to be archived: they count, and have none there."""


_NOTHING: Final = Passed(0, 0, is_last=True, without=0)


def lock(workspace: Workspace) -> None:
    """Be the only one who archives, until the transaction ends; raise Occupied."""
    if not workspace.rows(f"SELECT pg_try_advisory_xact_lock({LOCK})")[0][0]:
        raise Occupied("another process archives at the moment")


def archive(workspace: Workspace, directory: Directory, rows_max: int = ROWS_MAX) -> Passed:
    """Archive what is due, or a slice of it; raise ArchiveTrouble, and then nothing is changed."""
    with workspace.transaction(TIMEOUT_S, commits=True):
        lock(workspace)
        found = state.read(workspace)
        require(directory, found)
        chosen = window.choose(workspace, found, rows_max)
        if chosen is None:
            if found.age_s > BEAT_S:
                state.advance(workspace, found, found)
            return _NOTHING
        directory.require_room()
        return _take(workspace, directory, found, chosen)


def require(directory: Directory, found: State) -> None:
    """Raise unless the archive is of this Postgres and in this directory."""
    found.require_same()
    if directory.place.name != found.archive_id or not directory.is_there:
        raise NotHere(f"the archive {found.archive_id} is not in {directory.place.parent}")


def _take(workspace: Workspace, directory: Directory, found: State, chosen: Window) -> Passed:
    with workspace.stream(rows.sent(_OF_APP, chosen.condition)) as answer:
        workspace.duck.execute(f"CREATE OR REPLACE TEMP TABLE batch AS SELECT * FROM {answer}")
    try:
        late.erase(workspace)
        _leave_out_resent(workspace, directory)
        files = _write(workspace, directory, chosen.after.mark)
        without = _count_without(workspace)
    finally:
        workspace.duck.execute("DROP TABLE batch")
    if files:
        directory.sync()
        manifest.name(workspace, files)
    links.keep(workspace, chosen.condition)
    state.advance(workspace, found, chosen.after)
    is_last = chosen.after.null_done and chosen.after.mark >= found.settled
    return Passed(sum(each.rows for each in files), len(files), is_last=is_last, without=without)


def _leave_out_resent(workspace: Workspace, directory: Directory) -> None:
    horizons = horizon.read(workspace)
    if horizons.alone_before is None:
        return
    files = manifest.read_all(workspace)
    apps = workspace.duck.execute("SELECT DISTINCT app_id FROM batch").fetchall()
    for (app_id,) in apps:
        of_app = partial(_of_app, files, app_id)
        resent.leave_out(
            workspace,
            directory,
            "batch",
            of_app,
            horizons.of(app_id),
            f"app_id = {app_id}",
        )


def _of_app(files: Sequence[File], app_id: int) -> list[File]:
    return [each for each in files if each.app_id == app_id]


def _write(workspace: Workspace, directory: Directory, mark: int) -> list[File]:
    user_fields = dict(workspace.rows("SELECT id, user_field FROM apps"))
    sources = writing.of_batch(workspace, user_fields)
    return [writing.write(workspace, directory, each, mark) for each in sources]


def _count_without(workspace: Workspace) -> int:
    ((count,),) = workspace.duck.execute(
        "SELECT count(*) FROM batch WHERE params IS NULL"
    ).fetchall()
    return int(count)
