"""What only the archive holds is carried over into the one that is begun in its place.

That are the events from before an app's horizon that Postgres has dropped: all others are archived
anew from there. Files of which nothing else is needed are carried over by a link, of the others
what is needed is written anew. While this goes on nothing goes from Postgres (the lock on
`retention`, taken before the snapshot), so each event is either there or carried over.

A file that is missing, or is not what was written, can't be carried over. Then no archive is begun
by itself: the file may come back, with its disk or from a back-up. Only who asks for it begins one
without; what other files of the directory hold is carried over then as well, and it is kept, for
whoever can read more of it.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from ingest.archive import horizon, manifest, writing
from ingest.archive.directory import Directory, app_of, sha256
from ingest.archive.failures import ArchiveTrouble, Damaged
from ingest.archive.horizon import Horizon
from ingest.archive.known import parquet
from ingest.archive.manifest import File
from ingest.archive.workspace import Workspace

LOCK: Final = "LOCK TABLE retention IN EXCLUSIVE MODE"
"""To be taken before the transaction has a snapshot."""
SAY: Final = "SET LOCAL nonito.carries = 'yes'"
"""Without it Postgres lets no archive be begun in the place of one that holds events alone."""

_STORED: Final = "stored_ids"


class Needed(NamedTuple):
    """Files of an archive that may hold events alone."""

    whole: Sequence[File]
    lost: Sequence[File]
    """Missing, or not what was written."""

    def require_whole(self) -> None:
        """Raise Damaged if something of them is lost."""
        if self.lost:
            events = sum(each.rows for each in self.lost)
            raise Damaged(
                f"{len(self.lost)} files such as {self.lost[0].name} are missing or damaged that"
                f" hold up to {events} events which Postgres has dropped: bring them back from a"
                " back-up, or begin the archive without them by `nonito archive rebuild"
                " --without-lost`"
            )


def needed(
    workspace: Workspace,
    directory: Directory,
    files: Sequence[File],
    whole: set[str],
    *,
    all_of_them: bool,
) -> Needed:
    """Return what of an archive is not to be had from Postgres; raise ArchiveTrouble.

    Files are read that are not among the `whole`, which get those that are; if something is lost,
    no more than it takes to know that, but if it is to be known of `all_of_them`.
    """
    horizons = horizon.read(workspace)
    wanted = [
        each
        for each in files
        if horizons.of(each.app_id).may_be_alone(each)
        and not horizons.of(each.app_id).is_behind(each)
    ]
    sizes: dict[str, int] = {}
    with suppress(OSError):
        sizes = directory.sizes()
    lost = {each.name: each for each in wanted if sizes.get(each.name) != each.bytes}
    for each in wanted:
        if lost and not all_of_them:
            break
        if each.name not in lost and not _is_whole(directory, each, whole):
            lost[each.name] = each
    return Needed([each for each in wanted if each.name not in lost], list(lost.values()))


def carry(
    workspace: Workspace, old: Directory, new: Directory, files: Sequence[File]
) -> list[File]:
    """Bring what Postgres has no more from one directory into another; return the files there.

    They are durable when that is synced. Raises ArchiveTrouble.
    """
    horizons, carried = horizon.read(workspace), []
    names = manifest.read_name_texts(workspace, files)
    of_app: dict[int, list[File]] = defaultdict(list)
    for each in files:
        of_app[each.app_id].append(each)
    for app_id, of_one in of_app.items():
        alone = horizons.of(app_id)
        _read_stored(workspace, app_id, alone)
        for each in of_one:
            named = each._replace(names=names.get(each.name))
            carried += _carry_file(workspace, old, new, named, alone)
    return carried


def salvage(
    workspace: Workspace, old: Directory, new: Directory, carried: Sequence[File]
) -> list[File]:
    """Bring what files hold that the manifest does not name, as after a restore; as `carry`.

    Files that were merged since a back-up was made hold what those held that it names.
    """
    horizons = horizon.read(workspace)
    found: list[File] = []
    names = {each.name for each in carried}
    for name in old.sizes().keys() - names if old.is_there else ():
        app_id = app_of(name)
        if app_id is None or horizons.of(app_id).alone_before is None:
            continue
        alone = horizons.of(app_id)
        _read_stored(workspace, app_id, alone)
        of_app = [each for each in (*carried, *found) if each.app_id == app_id]
        if of_app:
            workspace.duck.execute(
                f"INSERT INTO {_STORED} SELECT id FROM {parquet(new.place, of_app)}"
            )
        # Whose the column `person` is nobody knows: it is made anew from the parameters.
        unnamed = File(name, app_id, 0, 0, 0, 0, 0, "", user_field="")
        with suppress(ArchiveTrouble), workspace.judging():
            found += _carry_file(workspace, old, new, unnamed, alone)
    return found


def _read_stored(workspace: Workspace, app_id: int, alone: Horizon) -> None:
    """Have in DuckDB which events of before the horizon Postgres holds yet."""
    before = f"app_id = {int(app_id)} AND id < '{alone.alone_before}'::uuid"
    with workspace.stream(f"SELECT id FROM events WHERE {before}") as answer:
        workspace.duck.execute(f"CREATE OR REPLACE TEMP TABLE {_STORED} AS SELECT * FROM {answer}")


def _carry_file(
    workspace: Workspace, old: Directory, new: Directory, file: File, alone: Horizon
) -> list[File]:
    conditions = [
        *alone.conditions,
        f"id < '{alone.alone_before}'::UUID",
        f"id NOT IN (SELECT id FROM {_STORED})",
    ]
    condition = " AND ".join(conditions)
    ((count,),) = workspace.duck.execute(
        f"SELECT count(*) FROM {parquet(old.place, [file])} WHERE {condition}"
    ).fetchall()
    if not count:
        return []
    if count == file.rows and file.sha256:
        new.adopt(old.path_of(file.name))
        return [file._replace(mark=0)]
    new.require_room()
    return [writing.write(workspace, new, writing.of_files(old, [file], condition), mark=0)]


def _is_whole(directory: Directory, file: File, whole: set[str]) -> bool:
    """Return whether a file is what was written; it is read unless that is known."""
    with suppress(OSError):
        if file.name in whole or sha256(directory.path_of(file.name)) == file.sha256:
            whole.add(file.name)
            return True
    return False
