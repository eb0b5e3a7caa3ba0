"""What spool and archive ask of a file system: directories that are there to stay."""

import os
from pathlib import Path
from typing import Final

_DIRECTORY_MODE: Final = 0o700


def make_directory(path: Path) -> None:
    """Make a directory for its owner's eyes only, durably, and those above it as usual."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(_DIRECTORY_MODE if each == path else 0o777, exist_ok=True)
        if each == path:
            each.chmod(_DIRECTORY_MODE)  # whatever the umask took away
        sync_directory(each.parent)
    if not path.is_dir():
        raise NotADirectoryError(path)


def is_there(path: Path) -> bool:
    """Return whether there is such a file; raise OSError where that can't be seen.

    `Path.exists` says no then, from Python 3.14 on.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def sync_directory(path: Path) -> None:
    """Make durable which files a directory has."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
