"""The disk of the spool: a small filesystem that can be filled, damaged, and looked at."""

from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Final

from bench.audit.disk import BALLAST, SmallDisk
from ingest.spool import report as spool_report
from ingest.spool.failures import StorageDamaged
from ingest.spool.formats import STORAGE
from ingest.spool.storage import DAMAGED_SUFFIX

TMPFS_BYTES: Final = 1024 * 1024 * 1024
SPOOL_BYTES_MAX: Final = TMPFS_BYTES * 3 // 4
_FULL: Final = 0.9
"""The share of its size from which a spool may call itself full: a batch needs some room, too."""
_ID_OFFSET: Final = 22
"""In a tuple: behind field count (2), app_id (4 + 4), length (4) and half of the id (8)."""
_ENTRIES_MAX: Final = 1_000_000


class SpoolDisk(SmallDisk):
    """The directory of the spool, on a small filesystem of its own where that is permitted."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, TMPFS_BYTES)

    def spoil(self, random: Random) -> list[bytes]:
        """Turn one bit in one batch of one file; return what the batch was, or nothing."""
        return spoil_one(self.files(), random)

    def left(self) -> int:
        """Return how many events wait on the disk, not quarantined ones; -1 for unreadable."""
        events = 0
        for file in spool_report.status(self.directory):
            path = self.directory / file.name
            if not file.is_readable and path.suffix != DAMAGED_SUFFIX and path.exists():
                return -1
            events += file.events
        return events

    def used_bytes(self) -> int:
        """Return what the spool itself takes."""
        return sum(map(file_bytes, self._all()))

    def is_full(self) -> bool:
        """Whether the spool itself takes as much as it is allowed to, or nearly so.

        A log counts twice, as the server has it: a checkpoint may write it into its database.
        """
        logs_bytes = sum(file_bytes(path) for path in self._all() if STORAGE.is_log(path.name))
        return self.used_bytes() + logs_bytes > SPOOL_BYTES_MAX * _FULL

    def largest_file_bytes(self) -> int:
        """Return the size of the spool's largest file."""
        return max(map(file_bytes, self._all()), default=0)

    def _all(self) -> list[Path]:
        """Return everything in the directory that is the spool's."""
        return [path for path in self.directory.iterdir() if path.name != BALLAST]

    def files(self) -> list[Path]:
        """Return the spool's files, without what stands beside them, the oldest first."""
        return sorted(path for path in self._all() if STORAGE.file_of(path.name) == path.name)


def spoil_one(paths: Iterable[Path], random: Random) -> list[bytes]:
    """Turn one bit in one batch of one of these files; return what the batch was, or nothing.

    In a file that nobody has open, and behind its log, which has sums of its own.
    """
    for path in paths:
        blob = b""
        # ValueError: of a batch that was spoilt before, and that nobody has looked at since.
        with closing(STORAGE.open(path)) as file, suppress(StorageDamaged, ValueError):
            file.recover()
            spoilt = file.status().quarantined
            entries = [each for each in file.entries(0, _ENTRIES_MAX) if each.id not in spoilt]
            blob = file.read(random.choice(entries)) if entries else b""
        if blob:
            _turn_bit(path, blob, random)
            return [blob]
    return []


def file_bytes(path: Path) -> int:
    """Return how large a file is; 0 for one that is not there."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _turn_bit(path: Path, blob: bytes, random: Random) -> None:
    """Turn a bit of a batch in its file, in the first row's id: else it is stored under another."""
    head = blob[: _ID_OFFSET + 8]  # with the whole id, so it is found nowhere else
    spoilt = bytearray(head)
    spoilt[_ID_OFFSET + random.randrange(8)] ^= 1 << random.randrange(6)
    content = path.read_bytes()
    if head not in content:
        raise LookupError(f"a batch is not in {path.name} as it was appended")
    path.write_bytes(content.replace(head, spoilt))
