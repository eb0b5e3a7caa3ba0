"""Small files are merged into larger ones, as a log-structured store does it.

What a pass has written is sorted by time. What is merged is cut in spans of time of about SPAN_ROWS
events, in each of which the events are sorted by person: whoever asks for one reads some rows of
each span and not of all parts, and to count people takes half as long.
FAN files of one app and of about one size make one that is FAN times as large: each event is
written once for each factor of FAN that its app has. What a pass has written is written anew at
least once, if it is large: DuckDB 2.0 gives whole numbers columns of their own only when it has
read them from a file, where they are signed, and a question for one of them is then a hundred times
as fast.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from ingest.archive import manifest, passes, rows, state, writing
from ingest.archive.directory import Directory
from ingest.archive.failures import Damaged
from ingest.archive.manifest import File
from ingest.archive.rows import literal
from ingest.archive.workspace import Workspace
from ingest.archive.writing import Kind, Source

FAN: Final = 8
SPAN_ROWS: Final = 500_000
"""Four of DuckDB's row groups, which are read as one."""
FILE_ROWS_MAX: Final = 4_000_000
"""A larger file is not made by merging."""

_TIER_ROWS: Final = 1_000
_LARGE_ROWS: Final = 100_000


def choose(files: Sequence[File]) -> list[File]:
    """Return what is to be merged next, those of the smallest files; nothing if nothing is due."""
    tiers: dict[tuple[int, int, str], list[File]] = defaultdict(list)
    for each in sorted(files, key=lambda file: (file.mark, file.at_min_us, file.name)):
        tiers[_tier(each.rows), each.app_id, each.user_field].append(each)
    for _, of_tier in sorted(tiers.items()):
        if len(fitting := _fitting(of_tier[:FAN])) == FAN:
            return fitting
    for each in files:
        if Kind.NEW.is_of(each.name) and each.rows >= _LARGE_ROWS:
            return _with_alike(each, files)
    return []


def _tier(count: int) -> int:
    return math.floor(math.log(max(count, 1) / _TIER_ROWS, FAN)) if count > _TIER_ROWS else -1


def _fitting(files: Sequence[File]) -> list[File]:
    """Return as many of the files as make a file that is not too large."""
    total = 0
    fitting: list[File] = []
    for each in files:
        total += each.rows
        if total > FILE_ROWS_MAX and fitting:
            break
        fitting.append(each)
    return fitting


def _with_alike(first: File, files: Sequence[File]) -> list[File]:
    """Return a file, and others of its app that have to be written anew as well."""
    alike = [
        each
        for each in files
        if Kind.NEW.is_of(each.name)
        and each.rows >= _LARGE_ROWS
        and (each.app_id, each.user_field) == (first.app_id, first.user_field)
    ]
    alike.sort(key=lambda file: (file.at_min_us, file.name))
    return _fitting(alike)


def merge(workspace: Workspace, directory: Directory) -> int:
    """Merge what is due first; return how many files that were, 0 for none.

    Raises ArchiveTrouble.
    """
    with workspace.transaction(passes.TIMEOUT_S, commits=True):
        passes.lock(workspace)
        found = state.read(workspace)
        passes.require(directory, found)
        parts = choose(manifest.read_all(workspace))
        if not parts:
            return 0
        directory.require_room()
        merged = writing.write(workspace, directory, _of_files(directory, parts), found.mark)
        if merged.rows != sum(each.rows for each in parts):
            raise Damaged("files of the archive do not hold what was written there")
        directory.sync()
        for each in parts:
            directory.touch(each.name)
        manifest.name(workspace, [merged])
        manifest.unname(workspace, [each.name for each in parts])
        return len(parts)


def _of_files(directory: Directory, parts: Sequence[File]) -> Source:
    listed = ", ".join(literal(str(directory.path_of(each.name))) for each in parts)
    of_parts = f"FROM read_parquet([{listed}])"
    return Source(
        parts[0].app_id,
        parts[0].user_field,
        Kind.MERGED,
        f"SELECT {rows.COLUMNS}, params {of_parts}",
        f"SELECT params::JSON::VARCHAR AS params FROM (SELECT params {of_parts}"
        f" USING SAMPLE reservoir({writing.SAMPLE_ROWS} ROWS) REPEATABLE (1))",
        f'{_span(parts)}, person, "at", id',
    )


def _span(parts: Sequence[File]) -> str:
    """Return SQL for which of a file's spans an event lies in; they are of equal length."""
    start = min(each.at_min_us for each in parts)
    length = max(each.at_max_us for each in parts) - start + 1
    spans = math.ceil(sum(each.rows for each in parts) / SPAN_ROWS)
    return f'(epoch_us("at") - {start}) // {math.ceil(length / spans)}'
