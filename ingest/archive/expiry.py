"""What is behind the horizon leaves the archive: whole files, and parts of one by writing it anew.

It is noted up to where, as Postgres may hold it yet: should it be kept again, it has to come back.

Nothing of it has counted since the horizon moved. A file of which some events are behind it is
written anew when they have been for a week: so it costs an event little, and what is gone is gone
from the disk within eight days and the time that questions have.
"""

from collections.abc import Callable, Sequence
from typing import Final

from ingest.archive import horizon, manifest, passes, state, writing
from ingest.archive.directory import Directory
from ingest.archive.horizon import Horizons
from ingest.archive.known import parquet
from ingest.archive.manifest import File
from ingest.archive.workspace import Workspace

_FILES_MAX: Final = 256
"""So many are let go at once."""


def expire(workspace: Workspace, directory: Directory) -> int:
    """Do one step of it; return how many files that was about, 0 if nothing is due.

    Raises ArchiveTrouble.
    """
    with workspace.transaction(passes.TIMEOUT_S, commits=True):
        passes.lock(workspace)
        found = state.read(workspace)
        passes.require(directory, found)
        if horizon.lacks_stored(workspace):
            return 0  # what is let go is to be kept again: first the archive is made anew
        horizons = horizon.read(workspace)
        files = [each for each in manifest.read_all(workspace) if horizons.may_let_go(each.app_id)]
        steps: Sequence[Callable[[], int]] = (
            lambda: _let_go(workspace, directory, horizons, files),
            lambda: _look(workspace, directory, horizons, files),
            lambda: _write_anew(workspace, directory, horizons, files, found.mark),
        )
        return next(filter(None, (step() for step in steps)), 0)


def _let_go(
    workspace: Workspace, directory: Directory, horizons: Horizons, files: Sequence[File]
) -> int:
    """Have files count no more of which nothing does."""
    gone = [each for each in files if horizons.of(each.app_id).is_behind(each)][:_FILES_MAX]
    for app_id in {each.app_id for each in gone}:
        horizon.forget(workspace, app_id)
    _leave(workspace, directory, [each.name for each in gone])
    return len(gone)


def _look(
    workspace: Workspace, directory: Directory, horizons: Horizons, files: Sequence[File]
) -> int:
    """Note which ids a file has, of a version that did not."""
    for each in files:
        is_asked = horizons.of(each.app_id)
        if each.id_min is None and (is_asked.first or is_asked.alone_before):
            sql = (
                f"SELECT min(id)::VARCHAR, max(id)::VARCHAR FROM {parquet(directory.place, [each])}"
            )
            ((least, most),) = workspace.duck.execute(sql).fetchall()
            manifest.set_ids(workspace, each.name, least, most)
            return 1
    return 0


def _write_anew(
    workspace: Workspace,
    directory: Directory,
    horizons: Horizons,
    files: Sequence[File],
    mark: int,
) -> int:
    """Write a file anew without what has been behind the horizon for long."""
    for each in files:
        counts = horizons.of(each.app_id)
        if counts.is_overdue(each):
            directory.require_room()
            source = writing.of_files(directory, [each], " AND ".join(counts.conditions))
            made = writing.write(workspace, directory, source, mark)
            directory.sync()
            horizon.forget(workspace, each.app_id)
            manifest.name(workspace, [made])
            _leave(workspace, directory, [each.name])
            return 1
    return 0


def _leave(workspace: Workspace, directory: Directory, names: Sequence[str]) -> None:
    """Have files count no more; questions that were asked before may still read them."""
    for each in names:
        directory.touch(each)
    manifest.unname(workspace, names)
