"""A small filesystem of the audit's own, which can be filled to the last byte."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

BALLAST: Final = "ballast"
_CHUNK: Final = bytes(1 << 16)
_MOUNT_TIMEOUT_S: Final = 10.0


class SmallDisk:
    """A directory, with a tmpfs mounted on it where this process may."""

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self.directory = directory
        self.is_own = False
        self._size_bytes = size_bytes

    def mount(self) -> None:
        """Make the directory, and mount a tmpfs on it if this process may."""
        self.directory.mkdir(mode=0o700)
        options = f"size={self._size_bytes},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.directory)]
        self.is_own = _succeeds(command)

    def fill(self) -> None:
        """Take all the room there is, to the last byte."""
        with (self.directory / BALLAST).open("wb", buffering=0) as ballast:
            free = os.statvfs(self.directory)
            with suppress(OSError):
                os.posix_fallocate(ballast.fileno(), 0, max(1, free.f_bavail * free.f_frsize))
            ballast.seek(0, os.SEEK_END)
            with suppress(OSError):  # what was freed meanwhile
                while ballast.write(_CHUNK):
                    pass

    def free(self) -> None:
        """Make room again."""
        (self.directory / BALLAST).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take the filesystem away again."""
        if self.is_own:
            _succeeds(["umount", "--lazy", str(self.directory)])


def _succeeds(command: list[str]) -> bool:
    try:
        ended = subprocess.run(  # noqa: S603 - mount and umount of our own directory
            command, check=False, capture_output=True, timeout=_MOUNT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0
