"""Which rows one pass takes: all that have settled since the last one, or a slice of them.

First those without an `xact`, from before the column, by ranges of id; then by ranges of `xact`.
Where a slice ends is told by a sample of the table's pages, as no index could tell it.
"""

from typing import Final, NamedTuple

from ingest.archive.state import State
from ingest.archive.workspace import Workspace

_SAMPLE_PAGES: Final = 1_000
_PAGE_BYTES: Final = 8_192
_PAGES: Final = (
    "SELECT coalesce(sum(pg_relation_size(relid)), 0)::bigint FROM pg_partition_tree('events')"
)
# Each app by one look into the index: no id can be looked up without its app.
_APPS: Final = (
    "WITH RECURSIVE found (app_id) AS (SELECT min(app_id) FROM events UNION ALL"
    " SELECT (SELECT min(app_id) FROM events WHERE app_id > found.app_id) FROM found"
    " WHERE found.app_id IS NOT NULL) SELECT app_id FROM found WHERE app_id IS NOT NULL"
)


class Window(NamedTuple):
    """What one pass takes."""

    condition: str
    """On rows of `events`, as SQL."""
    after: State
    """What is said of the archive when they are in it."""


def choose(workspace: Workspace, found: State, rows_max: int) -> Window | None:
    """Return what the next pass takes, about `rows_max` rows at most; None if nothing is due."""
    percent = _sample_percent(workspace)
    skipped = round(rows_max * percent / 100)
    if not found.null_done:
        return _of_old_rows(workspace, found, percent, skipped)
    if found.mark >= found.settled:
        return None
    due = f"xact >= {found.mark} AND xact < {{}}"
    bound = _sampled(workspace, "xact", due.format(found.settled), percent, skipped)
    end = found.settled if bound is None else max(int(bound), found.mark + 1)
    return Window(due.format(end), found._replace(mark=end))


def _of_old_rows(workspace: Workspace, found: State, percent: float, skipped: int) -> Window:
    due = "events.xact IS NULL"
    if found.null_before:
        due += f" AND events.id >= '{found.null_before}'"
    bound = _sampled(workspace, "id", due, percent, skipped)
    apps = ", ".join(str(app_id) for (app_id,) in workspace.rows(_APPS))
    due += f" AND events.app_id = ANY ('{{{apps}}}'::int[])"
    if bound is None:
        return Window(due, found._replace(null_done=True))
    return Window(f"{due} AND events.id < '{bound}'", found._replace(null_before=bound))


def _sampled(
    workspace: Workspace, column: str, condition: str, percent: float, skipped: int
) -> str | None:
    """Return the value of the row behind so many of a sample, in the order of a column, or None."""
    rows = workspace.rows(
        f"SELECT {column} FROM events TABLESAMPLE SYSTEM ({percent:f}) WHERE {condition}"
        f" ORDER BY events.{column} OFFSET {skipped} LIMIT 1"
    )
    return str(rows[0][0]) if rows else None


def _sample_percent(workspace: Workspace) -> float:
    size = int(workspace.rows(_PAGES)[0][0])
    return min(100.0, max(0.0001, 100.0 * _SAMPLE_PAGES * _PAGE_BYTES / max(1, size)))
