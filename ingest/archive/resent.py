"""Events that come again when Postgres has dropped them: the archive has them, and they count once.

Postgres knows an event that it holds when it comes again; of those from before the horizon only the
archive knows.
"""

from collections.abc import Callable, Sequence
from typing import Final

from ingest.archive.directory import Directory
from ingest.archive.horizon import Horizon
from ingest.archive.known import parquet
from ingest.archive.manifest import File
from ingest.archive.workspace import Workspace

_ENDS: Final = "SELECT min(id)::VARCHAR, max(id)::VARCHAR FROM {table} WHERE {old}"


def leave_out(
    workspace: Workspace,
    directory: Directory,
    table: str,
    files: Callable[[], Sequence[File]],
    horizon: Horizon,
    of_app: str = "true",
) -> int:
    """Delete from a table in DuckDB what is in an app's files; return how many that were.

    `files` is asked for all of them, of whatever time, as an event may be sent again with another
    one; `of_app` is true of the table's rows that are the app's. Raises ArchiveTrouble.
    """
    if horizon.alone_before is None:
        return 0
    duck = workspace.duck
    old = f"{of_app} AND id < '{horizon.alone_before}'::UUID"
    ((least, most),) = duck.execute(_ENDS.format(table=table, old=old)).fetchall()
    if least is None:
        return 0
    near = [each for each in files() if (each.id_min or least) <= most]
    near = [each for each in near if (each.id_max or most) >= least]
    if not near:
        return 0
    ids = f"SELECT id FROM {parquet(directory.place, near)} WHERE id BETWEEN '{least}' AND '{most}'"
    ((count,),) = duck.execute(f"DELETE FROM {table} WHERE {old} AND id IN ({ids})").fetchall()
    return int(count)
