"""The disk of the spool: a small filesystem that can be filled, damaged, and looked at."""

import os
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Final

TMPFS_BYTES: Final = 1024 * 1024 * 1024
SPOOL_BYTES_MAX: Final = TMPFS_BYTES * 3 // 4
_FULL: Final = 0.9
"""The share of its size from which a spool may call itself full: a batch needs some room, too."""
_BALLAST: Final = "ballast"
_CHUNK: Final = bytes(1 << 16)
_MOUNT_TIMEOUT_S: Final = 10.0
_ID_OFFSET: Final = 22
"""In a tuple: behind field count (2), app_id (4 + 4), length (4) and half of the id (8)."""
_LEFT: Final = (
    "SELECT CAST(total(events) AS INTEGER) FROM batches WHERE id NOT IN (SELECT id FROM damaged)"
)


class SpoolDisk:
    """The directory of the spool, on a small filesystem of its own where that is permitted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.is_own = False

    def mount(self) -> None:
        """Make the directory, and mount a tmpfs on it if this process may."""
        self.directory.mkdir(mode=0o700)
        options = f"size={TMPFS_BYTES},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.directory)]
        self.is_own = _succeeds(command)

    def fill(self) -> None:
        """Take all the room there is, to the last byte."""
        with (self.directory / _BALLAST).open("wb", buffering=0) as ballast:
            free = os.statvfs(self.directory)
            with suppress(OSError):
                os.posix_fallocate(ballast.fileno(), 0, max(1, free.f_bavail * free.f_frsize))
            ballast.seek(0, os.SEEK_END)
            with suppress(OSError):  # what was freed meanwhile
                while ballast.write(_CHUNK):
                    pass

    def spoil(self, random: Random) -> list[bytes]:
        """Turn one bit in one batch of one file; return what the batch was, or nothing.

        By SQL, as a bad sector would do it: SQLite sums its log, not its pages.
        """
        for path in sorted(self.directory.glob("*.db")):
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                ids = [row[0] for row in connection.execute("SELECT id FROM batches")]
                if ids:
                    return [_turn_bit(connection, random.choice(ids), random)]
        return []

    def left(self) -> int:
        """Return how many events are on the disk, apart from those set aside; -1 for unreadable."""
        events = 0
        for path in self.directory.glob("*.db"):
            try:
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                    events += connection.execute(_LEFT).fetchone()[0]
            except sqlite3.Error:
                if path.exists():
                    return -1
        return events

    def used_bytes(self) -> int:
        """Return what the spool itself takes."""
        return sum(map(file_bytes, self.directory.glob("*.db*")))

    def is_full(self) -> bool:
        """Whether the spool itself takes as much as it is allowed to, or nearly so.

        A log counts twice, as the server has it: a checkpoint may write it into its database.
        """
        logs_bytes = sum(map(file_bytes, self.directory.glob("*.db-wal")))
        return self.used_bytes() + logs_bytes > SPOOL_BYTES_MAX * _FULL

    def free(self) -> None:
        """Make room again."""
        (self.directory / _BALLAST).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take the filesystem away again."""
        if self.is_own:
            _succeeds(["umount", "--lazy", str(self.directory)])


def file_bytes(path: Path) -> int:
    """Return how large a file is; 0 for one that is not there."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _turn_bit(connection: sqlite3.Connection, batch: int, random: Random) -> bytes:
    query = "SELECT tuples FROM batches WHERE id = ?"
    (blob,) = connection.execute(query, (batch,)).fetchone()
    spoilt = bytearray(blob)
    # In the first row's id: it is stored under another one if nobody notices.
    spoilt[_ID_OFFSET + random.randrange(8)] ^= 1 << random.randrange(6)
    connection.execute("UPDATE batches SET tuples = ? WHERE id = ?", (bytes(spoilt), batch))
    return bytes(blob)


def _succeeds(command: list[str]) -> bool:
    try:
        ended = subprocess.run(  # noqa: S603 - mount and umount of our own directory
            command, check=False, capture_output=True, timeout=_MOUNT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0
