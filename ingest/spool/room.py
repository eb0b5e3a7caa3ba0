"""How much the spool may take: a cap on its directory, and a floor of free space on its disk.

The cap counts everything in the directory as it lies on the disk, and what may be added to it
without being asked: every log once more, for a checkpoint may write it elsewhere. Both limits are
those of all processes that share the directory: each looks before every append, and every few
seconds while it has no room. Each may be one batch over the cap, for they look at the same time.

A tenth of what there may be is a reserve: only who asks for it gets into it, at either limit. Whose
events may, those decide who know whose they are.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ingest.spool.failures import FAILURES, SpoolFull
from ingest.spool.file import SpoolFile
from ingest.spool.storage import Storage

_FILES_PER_CAP: Final = 8
_FILE_BYTES_MIN: Final = 1024 * 1024
RESERVE_PART: Final = 10
"""The reserve is one part of so many."""


class Need(NamedTuple):
    """What an append may add to the disk."""

    bytes: int
    from_reserve: bool = False


class SpoolRoom:
    """The two limits of one directory.

    Any method may raise what `FAILURES` lists, unless it says otherwise.
    """

    def __init__(
        self, directory: Path, storage: Storage, *, bytes_max: int, free_bytes_min: int
    ) -> None:
        self._directory = directory
        self._storage = storage
        self._bytes_max = bytes_max
        self._free_bytes_min = free_bytes_min
        self._file_bytes_max = max(bytes_max // _FILES_PER_CAP, _FILE_BYTES_MIN)

    @property
    def used_bytes(self) -> int:
        """What the files of the directory take."""
        return sum(self._sizes())

    @property
    def free_bytes(self) -> int:
        """What is free on its disk, for a user without privileges."""
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize

    def is_in(self, file: SpoolFile) -> bool:
        """Whether a file is to be appended to further, or another one begun."""
        return file.disk_bytes < self._file_bytes_max

    def require(self, need: Need, *, files: int = 0) -> None:
        """Raise SpoolFull unless an append may add so much, and so many files made for it."""
        other_bytes, log_bytes = self._sizes()
        used_bytes, left_bytes = other_bytes + log_bytes, self.free_bytes - self._free_bytes_min
        needed = log_bytes + need.bytes + files * self._storage.empty_bytes
        if not need.from_reserve:
            needed += min(self._bytes_max, used_bytes + max(0, left_bytes)) // RESERVE_PART
        if used_bytes + needed > self._bytes_max:
            raise SpoolFull("it has reached its size")
        if needed > left_bytes:
            raise SpoolFull("the disk has too little free space")

    def has(self, need: Need) -> bool:
        """Whether `require` would be content. Raises nothing."""
        try:
            self.require(need)
        except (SpoolFull, *FAILURES):
            return False
        return True

    def _sizes(self) -> tuple[int, int]:
        """Return what the files in the directory take but for logs, and what logs take."""
        sizes = [0, 0]
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    size = entry.stat(follow_symlinks=False).st_size
                    sizes[self._storage.is_log(entry.name)] += size
        return sizes[0], sizes[1]
