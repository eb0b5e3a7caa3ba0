"""Makes an archive of a few thousand events live through what one of millions does in a day."""

from typing import Final

from bench.audit.patch import replace
from ingest.archive import directory, merging, passes
from ingest.archive.directory import Directory

_ROWS_MAX: Final = 2_000
"""Of a pass, so that one often takes a slice only."""
_FAN: Final = 3
"""So few small files are merged."""
_GRACE_S: Final = 5.0
"""So soon a file is deleted that nobody names, and an archive that was given up. The asker takes a
fraction of that for a question, and one that comes too late gets an error, no wrong answer."""
_FREE_BYTES_MIN: Final = 1 << 20
"""So little room is left on the disk, which is filled to the last byte."""


def hurry() -> None:
    """Patch the insights process, in itself."""
    replace(passes, "ROWS_MAX", _ROWS_MAX)
    replace(merging, "FAN", _FAN)
    replace(directory, "FREE_BYTES_MIN", _FREE_BYTES_MIN)
    for method in (Directory.sweep, Directory.remove_deserted):
        _, *others = method.__defaults__ or ()
        replace(method, "__defaults__", (_GRACE_S, *others))
