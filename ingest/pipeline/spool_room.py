"""How much the spool may take: a cap on its directory, and a floor of free space on its disk.

The cap counts everything in the directory as it lies on the disk, and what an append may still add
to it: its pages in the WAL, and the same pages once more at the next checkpoint. Processes that
share the directory may each be one batch over it, for they look at the same time.
"""

import os
from pathlib import Path
from typing import Final

from ingest.pipeline.spool_database import EMPTY_BYTES, PAGE_BYTES
from ingest.pipeline.spool_failures import FAILURES, SpoolFull
from ingest.pipeline.spool_file import SpoolFile

_FILES_PER_CAP: Final = 8
_FILE_BYTES_MIN: Final = 1024 * 1024
_BATCH_PAGES: Final = 5  # besides those that its tuples fill: leaves of the table and the index
_CHAIN_BYTES: Final = 4
_FRAME_HEAD_BYTES: Final = 24


class SpoolRoom:
    """The two limits of one directory. Any method may raise OSError, unless it says otherwise."""

    def __init__(self, directory: Path, *, bytes_max: int, free_bytes_min: int) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._free_bytes_min = free_bytes_min
        self._file_bytes_max = max(bytes_max // _FILES_PER_CAP, _FILE_BYTES_MIN)

    @property
    def used_bytes(self) -> int:
        """What the files of the directory take."""
        with os.scandir(self._directory) as entries:
            return sum(_length(entry) for entry in entries)

    def is_in(self, file: SpoolFile) -> bool:
        """Whether a file is to be appended to further, or another one begun."""
        return file.disk_bytes < self._file_bytes_max

    def require(self, size: int, file: SpoolFile | None) -> None:
        """Raise SpoolFull unless `size` bytes may be appended to `file`, or to a new one."""
        pages = size // (PAGE_BYTES - _CHAIN_BYTES) + _BATCH_PAGES
        needed = 2 * pages * (PAGE_BYTES + _FRAME_HEAD_BYTES)
        needed += EMPTY_BYTES if file is None else file.wal_bytes
        if self.used_bytes + needed > self._bytes_max:
            raise SpoolFull("it has reached its size")
        disk = os.statvfs(self._directory)
        if disk.f_bavail * disk.f_frsize - needed < self._free_bytes_min:
            raise SpoolFull("the disk has too little free space")

    def has(self, size: int, file: SpoolFile | None) -> bool:
        """Whether `require` would be content. Raises nothing."""
        try:
            self.require(size, file)
        except (SpoolFull, *FAILURES):
            return False
        return True


def _length(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
