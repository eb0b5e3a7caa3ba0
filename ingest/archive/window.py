"""Which rows one pass takes: all that have settled since the last one, or a slice of them.

First those without an `xact`, from before the column, by ranges of id; then by ranges of `xact`.
No index tells where a slice ends: a sample of the table's pages does about, and then the rows of
these themselves. The sample alone errs the more the larger the table is: of 20 million rows it cut
slices of 350,000 to 600,000, and of 100 million one for which the memory was too small.
"""

from typing import Final, NamedTuple

from ingest.archive.state import State
from ingest.archive.workspace import Workspace

_SAMPLE_PAGES: Final = 1_000
_PAGE_BYTES: Final = 8_192
_MORE: Final = 1.5
"""Times as many rows as are wanted a sample is asked for: it errs by a half, in a large table."""
_SORT_MEMORY: Final = "64MB"
"""Which the places of some 500,000 rows take."""
_PAGES: Final = (
    "SELECT coalesce(sum(pg_relation_size(relid)), 0)::bigint FROM pg_partition_tree('events')"
)
_PAGES_OF_SHARDS: Final = (
    "SELECT coalesce(sum(citus_relation_size(relid)), 0)::bigint"
    " FROM pg_partition_tree('events') WHERE isleaf"
)
# Each app by one look into the index: no id can be looked up without its app.
_APPS: Final = (
    "WITH RECURSIVE found (app_id) AS (SELECT min(app_id) FROM events UNION ALL"
    " SELECT (SELECT min(app_id) FROM events WHERE app_id > found.app_id) FROM found"
    " WHERE found.app_id IS NOT NULL) SELECT app_id FROM found WHERE app_id IS NOT NULL"
)
# Citus knows no recursion over all shards.
_APPS_OF_SHARDS: Final = "SELECT DISTINCT app_id FROM events WHERE xact IS NULL"


class Window(NamedTuple):
    """What one pass takes."""

    condition: str
    """On rows of `events`, as SQL."""
    after: State
    """What is said of the archive when they are in it."""


def choose(workspace: Workspace, found: State, rows_max: int) -> Window | None:
    """Return what the next pass takes; None if nothing is due.

    Those are `rows_max` rows at most, and the rest of a transaction: none can be cut.
    """
    if not found.null_done:
        return _of_old_rows(workspace, found, rows_max)
    if found.mark >= found.settled:
        return None
    due = f"xact >= {found.mark} AND xact < {found.settled}"
    bound = _bound(workspace, "xact", due, rows_max)
    end = found.settled if bound is None else max(int(bound), found.mark + 1)
    return Window(f"xact >= {found.mark} AND xact < {end}", found._replace(mark=end))


def _of_old_rows(workspace: Workspace, found: State, rows_max: int) -> Window:
    due = "events.xact IS NULL"
    if found.null_before:
        due += f" AND events.id >= '{found.null_before}'"
    which = _APPS_OF_SHARDS if workspace.is_distributed else _APPS
    apps = ", ".join(str(app_id) for (app_id,) in workspace.rows(which))
    due += f" AND events.app_id = ANY ('{{{apps}}}'::int[])"
    bound = _bound(workspace, "id", due, rows_max)
    if bound is None:
        return Window(due, found._replace(null_done=True))
    return Window(f"{due} AND events.id < '{bound}'", found._replace(null_before=bound))


def _bound(workspace: Workspace, column: str, due: str, rows_max: int) -> str | None:
    """Return the value of the row behind so many, in the order of a column; None if there is none.

    A sample says about where that is, and the rows before it exactly where.
    """
    percent = _sample_percent(workspace)
    sampled = f"TABLESAMPLE SYSTEM ({percent:f})"
    # Never the first one: before that there may be nothing.
    skipped = max(1, round(rows_max * _MORE * percent / 100))
    about = _nth(workspace, column, sampled, due, skipped)
    if about is not None:
        due += f" AND events.{column} < '{about}'"
    workspace.execute(f"SET LOCAL work_mem = '{_SORT_MEMORY}'")
    return _nth(workspace, column, "", due, rows_max) or about


def _nth(workspace: Workspace, column: str, sampled: str, due: str, skipped: int) -> str | None:
    rows = workspace.rows(
        f"SELECT {column} FROM events {sampled} WHERE {due}"
        f" ORDER BY events.{column} OFFSET {skipped} LIMIT 1"
    )
    return str(rows[0][0]) if rows else None


def _sample_percent(workspace: Workspace) -> float:
    pages = _PAGES_OF_SHARDS if workspace.is_distributed else _PAGES
    size = int(workspace.rows(pages)[0][0])
    return min(100.0, max(0.0001, 100.0 * _SAMPLE_PAGES * _PAGE_BYTES / max(1, size)))
