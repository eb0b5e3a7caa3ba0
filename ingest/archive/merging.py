"""Small files are merged into larger ones, as a log-structured store does it.

FAN files of one app and of about one size make one that is FAN times as large, or as large as a
file may become: each event is written once more for each factor of FAN that its app has, until its
file is large. What a pass has written for an app with many events is large from the beginning.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from ingest.archive import manifest, passes, state, writing
from ingest.archive.directory import Directory
from ingest.archive.failures import Damaged
from ingest.archive.manifest import File
from ingest.archive.workspace import Workspace

FAN: Final = 8
FILE_ROWS_MAX: Final = 1_000_000
"""A larger file is not made by merging."""

_LARGE_ROWS: Final = FILE_ROWS_MAX // 4
_TIER_ROWS: Final = 1_000


def choose(files: Sequence[File], rows_max: int = FILE_ROWS_MAX) -> list[File]:
    """Return what is to be merged next, those of the smallest files; nothing if nothing is due.

    Together they have `rows_max` rows at most.
    """
    tiers: dict[tuple[int, int, str], list[File]] = defaultdict(list)
    for each in sorted(files, key=lambda file: (file.mark, file.at_min_us, file.name)):
        if each.rows < _LARGE_ROWS:
            tiers[_tier(each.rows), each.app_id, each.user_field].append(each)
    for _, of_tier in sorted(tiers.items()):
        fitting = _fitting(of_tier[:FAN], rows_max)
        if len(fitting) > 1 and (len(fitting) == FAN or len(fitting) < len(of_tier)):
            return fitting
    return []


def _tier(count: int) -> int:
    return math.floor(math.log(max(count, 1) / _TIER_ROWS, FAN)) if count > _TIER_ROWS else -1


def _fitting(files: Sequence[File], rows_max: int) -> list[File]:
    """Return as many of the files as make a file that is not too large."""
    total = 0
    fitting: list[File] = []
    for each in files:
        total += each.rows
        if total > rows_max:
            break
        fitting.append(each)
    return fitting


def merge(workspace: Workspace, directory: Directory, rows_max: int = FILE_ROWS_MAX) -> int:
    """Merge what is due first, so many rows at most; return how many files that were, 0 for none.

    Raises ArchiveTrouble.
    """
    with workspace.transaction(passes.TIMEOUT_S, commits=True):
        passes.lock(workspace)
        found = state.read(workspace)
        passes.require(directory, found)
        parts = choose(manifest.read_all(workspace), rows_max)
        if not parts:
            return 0
        directory.require_room()
        merged = writing.write(workspace, directory, writing.of_files(directory, parts), found.mark)
        if merged.rows != sum(each.rows for each in parts):
            raise Damaged("files of the archive do not hold what was written there")
        directory.sync()
        for each in parts:
            directory.touch(each.name)
        manifest.name(workspace, [merged])
        manifest.unname(workspace, [each.name for each in parts])
        return len(parts)
