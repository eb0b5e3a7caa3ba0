"""How much the spool may take: a cap on its directory, and a floor of free space on its disk.

The cap counts everything in the directory as it lies on the disk, and what may be added to it
without being asked: every WAL once more, for a checkpoint may write it into its database. Processes
that share the directory may each be one batch over the cap, for they look at the same time.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from ingest.spool.database import EMPTY_BYTES, PAGE_BYTES, WAL
from ingest.spool.failures import FAILURES, SpoolFull
from ingest.spool.file import SpoolFile

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
        return sum(_sizes(self._directory))

    def is_in(self, file: SpoolFile) -> bool:
        """Whether a file is to be appended to further, or another one begun."""
        return file.disk_bytes < self._file_bytes_max

    def require(self, size: int, *, files: int = 0) -> None:
        """Raise SpoolFull unless `size` bytes may be appended, and so many files made for it.

        The pages that the keys of a batch may dirty count towards its size.
        """
        other_bytes, wal_bytes = _sizes(self._directory)
        pages = size // (PAGE_BYTES - _CHAIN_BYTES) + _BATCH_PAGES
        needed = wal_bytes + 2 * pages * (PAGE_BYTES + _FRAME_HEAD_BYTES) + files * EMPTY_BYTES
        if other_bytes + wal_bytes + needed > self._bytes_max:
            raise SpoolFull("it has reached its size")
        disk = os.statvfs(self._directory)
        if disk.f_bavail * disk.f_frsize - needed < self._free_bytes_min:
            raise SpoolFull("the disk has too little free space")

    def has(self, size: int) -> bool:
        """Whether `require` would be content. Raises nothing."""
        try:
            self.require(size)
        except (SpoolFull, *FAILURES):
            return False
        return True


def _sizes(directory: Path) -> tuple[int, int]:
    """Return what the files in a directory take but for WALs, and what WALs take."""
    sizes = [0, 0]
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                sizes[entry.name.endswith(WAL)] += entry.stat(follow_symlinks=False).st_size
    return sizes[0], sizes[1]
