"""Begins an archive: the first of a database, or another one in the place of what can't be used.

An archive whose mark is of a Postgres that was restored or has failed over says nothing; one that
misses files, or is not what was written, neither. Then a new one is begun, with an id and a
directory of its own, and everything is archived anew; what Postgres has dropped and only the old
one holds is carried over (`carrying.py`). An archive in a directory that is not here
may be in use by another server: it is left alone for as long as somebody works on it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from ingest.archive import carrying, horizon, manifest, passes, state
from ingest.archive.carrying import Needed
from ingest.archive.directory import Directory, sha256
from ingest.archive.failures import Damaged, NotHere, Occupied, Overtaken, PostgresTrouble
from ingest.archive.manifest import File
from ingest.archive.state import State
from ingest.archive.workspace import Workspace

DESERTED_S: Final = 600.0
"""An archive that nobody has worked on for so long is deserted."""

FIRST: Final = "there was none"
"""Why the first archive of a database is begun."""
_TIMEOUT_S: Final = 60.0
_BEGIN_TIMEOUT_S: Final = 3 * 3600.0
"""All files may have to be read that are carried over."""
_NO_PRIVILEGE: Final = "42501"
_IN_THE_WAY: Final = "55P03"
# In one statement, and the default behind the column, so that the rows that there are have none.
# The index by `xact` goes with the column; a server's upkeep makes it again.
_COUNT_ANEW: Final = (
    "ALTER TABLE events DROP COLUMN xact, ADD COLUMN xact bigint,"
    " ALTER COLUMN xact SET DEFAULT txid_current()"
)
_MAY_WRITE_LINKS: Final = (
    "SELECT has_table_privilege('person_links', 'SELECT'),"
    " has_table_privilege('person_links', 'INSERT'),"
    " has_table_privilege('person_links', 'UPDATE')"
)
_INDEX: Final = (
    "CREATE INDEX events_xact_idx ON ONLY events USING brin (xact) WITH (autosummarize = on)"
)
# To a shard's index that of a partition can't be attached afterwards.
_INDEX_ALL: Final = _INDEX.replace("ONLY ", "")


class Founded(NamedTuple):
    """The archive that there is, and why it was begun; an empty reason for one that was there."""

    directory: Directory
    reason: str


def find(workspace: Workspace, path: Path, whole: set[str] | None = None) -> Founded:
    """Return the archive, begun anew where that is needed; raise ArchiveTrouble.

    `whole` has the names of files whose checksums were compared, and gets those that are now.
    Raises Damaged where one is needed that would be without events which only the old one holds.
    """
    with workspace.transaction(_TIMEOUT_S, commits=True):
        passes.lock(workspace)
        found = state.read(workspace)
        directory = Directory(path, found.archive_id)
        reason = _reason(workspace, found, directory)
    if not reason:
        return Founded(directory, "")
    return Founded(begin(workspace, path, found.archive_id, whole), reason)


def begin(
    workspace: Workspace,
    path: Path,
    archive_id: str | None = None,
    whole: set[str] | None = None,
    *,
    without_lost: bool = False,
) -> Directory:
    """Begin an archive in the place of that of an id, or whatever there is; raise ArchiveTrouble.

    What Postgres has dropped is carried over; raises Damaged if something of it is lost, unless it
    is to be begun without. `whole` as `find`.
    """
    with workspace.transaction(_BEGIN_TIMEOUT_S, commits=True, lock=carrying.LOCK):
        workspace.execute(carrying.SAY)
        passes.lock(workspace)
        found = state.read(workspace)
        if archive_id not in (None, found.archive_id):
            raise Overtaken("another process has begun an archive meanwhile")
        if found.has_other_numbers:
            _require_rights(workspace)
        horizon.remember(workspace)
        files = manifest.read_all(workspace)
        old = Directory(path, found.archive_id)
        needed = carrying.needed(
            workspace, old, files, set() if whole is None else whole, all_of_them=without_lost
        )
        if not without_lost:
            needed.require_whole()
        with _new(path, found) as directory:
            carried = _carry(workspace, old, directory, needed)
            _replace(workspace, found, directory, files, carried)
        if needed.lost:
            old.keep()
        return directory


def _reason(workspace: Workspace, found: State, directory: Directory) -> str:
    """Return why an archive has to be begun, empty if it need not; raise NotHere."""
    if found.is_new:
        return FIRST
    if found.has_moved:
        return "the database was restored, or has failed over"
    if not directory.is_there:
        if found.age_s < DESERTED_S:
            raise NotHere(
                f"the archive {found.archive_id} is not in {directory.place.parent}, and somebody"
                f" has worked on it {found.age_s:.0f} s ago: all servers need one archive.path"
            )
        return f"the archive {found.archive_id} is not in {directory.place.parent}"
    files = manifest.read_all(workspace)
    if not all(each.has_links for each in files):
        _require_links(workspace)
        return "it was made by a version that joined no ids of one person"
    if horizon.lacks_stored(workspace):
        return "it has let go events that it is to keep again, and Postgres holds"
    return damage(directory, files)


def _require_links(workspace: Workspace) -> None:
    """Raise PostgresTrouble if this role may not write what the files of a new archive need."""
    if not all(workspace.rows(_MAY_WRITE_LINKS)[0]):
        raise PostgresTrouble(
            "the archive is to be made anew, as it joins no ids of one person yet, and this role"
            " may not write its links: GRANT SELECT, INSERT, UPDATE ON person_links TO it",
            _NO_PRIVILEGE,
        )


def damage(directory: Directory, files: list[File]) -> str:
    """Return what of the files is missing or has another size, in words; empty for nothing."""
    sizes = directory.sizes()
    wrong = [each.name for each in files if sizes.get(each.name) != each.bytes]
    if not wrong:
        return ""
    return f"{len(wrong)} of its {len(files)} files are missing or cut short, such as {wrong[0]}"


def require_whole(directory: Directory, file: File) -> None:
    """Raise Damaged for a file that is not what was written; raise OSError."""
    if sha256(directory.path_of(file.name)) != file.sha256:
        raise Damaged(f"the file {file.name} is not what was written")


@contextmanager
def _new(path: Path, found: State) -> Iterator[Directory]:
    """Make a directory for an archive; what fails leaves nothing of it."""
    directory = Directory(path, str(uuid4()))
    try:
        directory.make(found.system_now)
        yield directory
        directory.sync()
    except BaseException:
        directory.remove()
        raise


def _carry(
    workspace: Workspace, old: Directory, directory: Directory, needed: Needed
) -> list[File]:
    carried = carrying.carry(workspace, old, directory, needed.whole)
    if needed.lost:
        carried += carrying.salvage(workspace, old, directory, carried)
    return carried


def _replace(
    workspace: Workspace,
    found: State,
    directory: Directory,
    files: Sequence[File],
    carried: Sequence[File],
) -> None:
    """Have the new archive be the one, with what was carried over and a mark of its own."""
    if found.has_other_numbers:
        _count_anew(workspace)
    manifest.unname(workspace, [each.name for each in files])
    manifest.name(workspace, carried)
    state.advance(
        workspace,
        found,
        found._replace(
            archive_id=directory.place.name,
            mark=0,
            null_before=None,
            null_done=False,
            system=found.system_now,
            timeline=found.timeline_now,
        ),
    )


def _require_rights(workspace: Workspace) -> None:
    """Raise unless `events` may be changed, and at once: before all that is carried over."""
    with _changing_events(workspace):
        workspace.execute("SAVEPOINT asked")
        workspace.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        workspace.execute("ROLLBACK TO SAVEPOINT asked")


def _count_anew(workspace: Workspace) -> None:
    """Have all rows without an `xact`; raise ArchiveTrouble. Nobody waits for it for long."""
    with _changing_events(workspace):
        workspace.execute(_COUNT_ANEW)
        workspace.execute(_INDEX_ALL if workspace.is_distributed else _INDEX)


@contextmanager
def _changing_events(workspace: Workspace) -> Iterator[None]:
    try:
        with workspace.judging():
            workspace.execute("SET LOCAL lock_timeout = '200ms'")
            yield
    except PostgresTrouble as trouble:
        if trouble.sqlstate == _IN_THE_WAY:
            raise Occupied("somebody holds a lock on events") from trouble
        if trouble.sqlstate != _NO_PRIVILEGE:
            raise
        raise PostgresTrouble(
            "the column events.xact has to be made anew, since the database was restored or has"
            " failed over, and this role may not: run `nonito archive rebuild` as the role that"
            " owns the tables",
            trouble.sqlstate,
        ) from trouble
