"""Takes somebody's events out of the archive's files, and out of Postgres with them.

A file that holds some is written anew without them: nobody waits for that, as a file never
changes. What is new counts in the place of the old one with the commit that deletes the rows,
within the lock of those who archive: in every snapshot archive and tail are what the table is.
Whatever ends it before leaves files that are nobody's, and nothing erased. The old file is deleted
when the questions that may read it have ended (`sweep`).
"""

import time
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from ingest.archive import manifest, passes, row_groups, rows, state, writing
from ingest.archive.directory import TEMPORARY, Directory, of_database
from ingest.archive.failures import Damaged
from ingest.archive.manifest import File
from ingest.archive.rows import literal
from ingest.archive.workspace import Workspace
from ingest.store.deleting import EVENTS_MAX, deleting
from ingest.store.erasing import Whose

_TIMEOUT_S: Final = 60.0
_DELETING_S: Final = 600.0
_FEW: Final = 50
"""So few ids are written out: DuckDB skips the parts of a file that can't have one of them."""
_TABLE: Final = "erased"
_PINNED: Final = f"{TEMPORARY}/*/pinned"
"""Where a verification keeps the files that it reads."""


class Found(NamedTuple):
    """The archive, and the files that an app has there."""

    directory: Directory
    files: list[File]


class Due(NamedTuple):
    """A file that holds events that are to be erased."""

    file: File
    events: list[UUID]
    rows: list[int]
    """Which of its rows they are."""


class Rewritten(NamedTuple):
    """A file that is there without some of its events, and does not count yet."""

    due: Due
    new: list[File]
    """What holds the others; nothing if there are none."""


def find(workspace: Workspace, path: Path, app_id: int) -> Found:
    """Return what there is; raise ArchiveTrouble."""
    with workspace.transaction(_TIMEOUT_S, commits=False):
        found = state.read(workspace)
        directory = Directory(path, found.archive_id)
        passes.require(directory, found)
        return Found(directory, manifest.read_of_app(workspace, app_id, None, None))


def look(
    workspace: Workspace, directory: Directory, file: File, whose: Whose, also: Sequence[UUID] = ()
) -> Due:
    """Return which events of a file are theirs, or are among those; raise ArchiveTrouble."""
    person = "person" if file.user_field == whose.user_field else rows.person_of(whose.user_field)
    values: list[object] = [whose.before, [*whose.ids]]
    their = "SELECT unnest($2::VARCHAR[])"
    if len(whose.ids) <= _FEW:
        values = [whose.before, *whose.ids]
        their = ", ".join(f"${place}" for place in range(2, len(values) + 1))
    which = f"{person} IN ({their}) AND created_at < $1"
    if also:
        values.append([*also])
        which = f"({which} OR id IN (SELECT unnest(${len(values)}::UUID[])))"
    path = literal(str(directory.path_of(file.name)))
    source = f"read_parquet({path}, file_row_number = true)"
    found = workspace.duck.execute(
        f"SELECT id, file_row_number FROM {source} WHERE {which}", values
    )
    both = found.fetchall()
    return Due(file, [event for event, _ in both], [row for _, row in both])


def rewrite(workspace: Workspace, directory: Directory, due: Due) -> Rewritten:
    """Write a file anew without some of its events; raise ArchiveTrouble. Changes nothing yet.

    Of a row group that has none of them the bytes are copied, into a file of such alone: to write
    500,000 events takes 2.3 s of CPU, to copy them 0.02.
    """
    directory.require_room()
    path = directory.path_of(due.file.name)
    try:
        touched, others = _parted(row_groups.sizes(path), due.rows)
    except ValueError as error:
        raise Damaged(f"the file {due.file.name} can't be read: {error}") from error
    new = [_copied(workspace, directory, due.file, others)] if others else []
    part = workspace.make_temporary() / due.file.name
    try:
        row_groups.copy(path, part, touched)
        new += _without(workspace, directory, due, part)
    finally:
        part.unlink(missing_ok=True)
    if sum(each.rows for each in new) != due.file.rows - len(due.events):
        drop(directory, Rewritten(due, new))
        raise Damaged(f"the file {due.file.name} does not hold what was written there")
    directory.sync()
    return Rewritten(due, new)


def _parted(sizes: Sequence[int], gone: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the numbers of the row groups that have some of these rows, and of the others."""
    ends = list(accumulate(sizes))
    touched = {bisect_right(ends, row) for row in gone}
    return sorted(touched), [number for number in range(len(sizes)) if number not in touched]


def _copied(workspace: Workspace, directory: Directory, file: File, groups: Sequence[int]) -> File:
    new = directory.new(f"app{file.app_id}")
    row_groups.copy(directory.path_of(file.name), new.unfinished, groups)
    return writing.finish(workspace, new, file.app_id, file.user_field, file.mark)


def _without(workspace: Workspace, directory: Directory, due: Due, part: Path) -> list[File]:
    """Write the events of a part of a file that stay, if there are any."""
    duck, file = workspace.duck, due.file
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT unnest($1::UUID[]) AS id", [due.events]
    )
    try:
        if sum(row_groups.sizes(part)) == len(due.events):
            return []
        source = writing.of_part_without(part, file, _TABLE)
        return [writing.write(workspace, directory, source, file.mark)]
    finally:
        duck.execute(f"DROP TABLE {_TABLE}")


def replace(workspace: Workspace, directory: Directory, erasure: int, done: Rewritten) -> bool:
    """Have the new file count, and the events be gone from Postgres; raise ArchiveTrouble.

    Returns False if the old one does not count any more, as it was merged into another; nothing is
    changed then.
    """
    with workspace.transaction(_DELETING_S, commits=True):
        passes.lock(workspace)
        found = state.read(workspace)
        passes.require(directory, found)
        due = done.due
        if due.file not in manifest.read_of_app(workspace, due.file.app_id, None, None):
            return False
        manifest.unname(workspace, [due.file.name])
        manifest.name(workspace, done.new)
        deleted = delete(workspace, due.file.app_id, due.events)
        # Of what Postgres keeps no longer, and the archive does, there was nothing to delete.
        count(workspace, erasure, deleted._replace(events=len(due.events)), files=1)
        state.note_erased(workspace)
        directory.touch(due.file.name)
        return True


def drop(directory: Directory, done: Rewritten) -> None:
    """Delete files that are not to count; raise OSError."""
    for each in done.new:
        directory.path_of(each.name).unlink(missing_ok=True)


class Deleted(NamedTuple):
    """How much was deleted in Postgres."""

    events: int
    keys: int


def delete(workspace: Workspace, app_id: int, ids: Sequence[UUID]) -> Deleted:
    """Delete events in Postgres, and what their keys stand for, in a transaction for that."""
    gone = keys = 0
    for start in range(0, len(ids), EVENTS_MAX):
        some = ids[start : start + EVENTS_MAX]
        done = [workspace.execute(each) for each in deleting(app_id, some)]
        keys, gone = keys + done[1], gone + done[-1]
    return Deleted(gone, keys)


def count(workspace: Workspace, erasure: int, deleted: Deleted, files: int = 0) -> None:
    """Note what an erasure has done, in the transaction that does it."""
    workspace.execute(
        f"UPDATE erasures SET events = events + {deleted.events}, keys = keys + {deleted.keys},"
        f" files = files + {files} WHERE id = {int(erasure)}"
    )


def sweep(workspace: Workspace, path: Path, app_id: int, grace_s: float) -> int:
    """Delete an app's files that count no more, and were touched last so long ago.

    Returns how many are there yet, in archives that were given up, too, and where a verification
    keeps them. Raises ArchiveTrouble.
    """
    with workspace.transaction(_TIMEOUT_S, commits=True):
        passes.lock(workspace)
        found = state.read(workspace)
        passes.require(Directory(path, found.archive_id), found)
        named = {each.name for each in manifest.read_all(workspace)}
        beginning = f"app{int(app_id)}-"
        left = 0
        for each in of_database(path, found.system_now):
            each.sweep(named, grace_s, beginning)
            left += sum(name.startswith(beginning) for name in each.sizes() if name not in named)
        kept = path.glob(f"{_PINNED}/{beginning}*")
        left += sum(each.name not in named for each in kept)
        return left + _sweep_parts(path, beginning, grace_s)


def _sweep_parts(path: Path, beginning: str, grace_s: float) -> int:
    """Delete what a process has left that was killed while it wrote; return how many are left."""
    left = 0
    for each in path.glob(f"{TEMPORARY}/*/{beginning}*"):
        with suppress(FileNotFoundError):
            is_old = time.time() - each.stat().st_mtime > grace_s
            each.unlink() if is_old else None
            left += not is_old
    return left
