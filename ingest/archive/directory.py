"""The files of one archive: a directory named by its id, so that no archive touches another's.

A file is written under another name, synced, and renamed, and its directory is synced: only then
may it be named in the manifest. What the manifest does not name is nobody's: left by a crash, or
merged into a larger file. It is deleted when it has not been touched for GRACE_S, since a question
that was asked before may still read it, and by whoever has the archive's lock, so that nobody is
writing it.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from ingest.archive.failures import DiskTrouble
from ingest.disk import make_directory, sync_directory

GRACE_S: Final = 900.0
"""A question has to end within this time."""
FREE_BYTES_MIN: Final = 256 << 20
"""So much room is left on the disk, which Postgres may use as well."""

TEMPORARY: Final = "temporary"
"""The directory below `archive.path` for what is to be gone soon."""

_TEMPORARY_S: Final = 86_400.0
_LABEL: Final = "archive.json"
_KEPT: Final = "none: kept by hand"
_FORMAT: Final = 1
_SUFFIX: Final = ".parquet"
_UNFINISHED: Final = ".unfinished"
_NAMED: Final = re.compile(r"app([0-9]{1,9})-[0-9a-f]{32}\.parquet")
_CHUNK_BYTES: Final = 1 << 20


class Directory:
    """The directory of one archive below `archive.path`."""

    def __init__(self, path: Path, archive_id: str) -> None:
        self.place = path / archive_id

    @property
    def is_there(self) -> bool:
        """Whether this process has it, in a form that it can read."""
        return self._label().get("format") == _FORMAT

    @property
    def database(self) -> str:
        """Of which database of which Postgres it says to be."""
        return str(self._label().get("database", ""))

    def _label(self) -> dict[str, object]:
        try:
            found = json.loads((self.place / _LABEL).read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def make(self, database: str) -> None:
        """Make it, for the archive of a database; raise OSError."""
        make_directory(self.place)
        self._write_label(database)

    def remove(self) -> None:
        """Delete all of it, as far as that can be done: what never counted."""
        shutil.rmtree(self.place, ignore_errors=True)

    def keep(self) -> None:
        """Have nobody delete it when it is deserted; raise OSError."""
        if self.is_there:
            self._write_label(_KEPT)

    def _write_label(self, database: str) -> None:
        text = json.dumps({"format": _FORMAT, "archive_id": self.place.name, "database": database})
        label = self.place / _LABEL
        label.write_text(f"{text}\n", encoding="utf-8")
        _sync(label)
        sync_directory(self.place)

    def require_room(self) -> None:
        """Raise DiskTrouble if the disk is nearly full."""
        free = shutil.disk_usage(self.place).free
        if free < FREE_BYTES_MIN:
            raise DiskTrouble(f"the archive's disk has only {free >> 20} MiB left")

    def new(self, beginning: str) -> "Unfinished":
        """Return a file to be written, whose name begins so and is nobody's."""
        return Unfinished(self.place / f"{beginning}-{uuid4().hex}{_SUFFIX}")

    def adopt(self, path: Path) -> None:
        """Have a file of another directory here as well; raise OSError."""
        place = self.place / path.name
        try:
            place.hardlink_to(path)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, place)
            _sync(place)

    def sync(self) -> None:
        """Make durable which files there are; raise OSError."""
        sync_directory(self.place)

    def path_of(self, name: str) -> Path:
        """Return where a file is."""
        return self.place / name

    def sizes(self) -> dict[str, int]:
        """Return the sizes of all files that are there, in bytes; raise OSError."""
        with os.scandir(self.place) as entries:
            return {each.name: each.stat().st_size for each in entries if _is_data(each.name)}

    def touch(self, name: str) -> None:
        """Begin the time after which a file may be deleted; raise OSError."""
        os.utime(self.place / name)

    def sweep(
        self, named: Container[str], grace_s: float = GRACE_S, beginning: str = ""
    ) -> list[str]:
        """Delete what is nobody's, within the archive's lock; return its names; raise OSError.

        Of those alone whose names begin so.
        """
        gone = []
        end_s = self._now_s() - grace_s
        with os.scandir(self.place) as entries:
            for each in entries:
                with suppress(FileNotFoundError):
                    is_meant = _is_data(each.name) and each.name.startswith(beginning)
                    is_nobodys = is_meant and each.name not in named
                    if is_nobodys and each.stat().st_mtime <= end_s:
                        Path(each.path).unlink()
                        gone.append(each.name)
        return gone

    def remove_deserted(self, grace_s: float = GRACE_S) -> bool:
        """Delete all of it if nobody has touched it for a while; return whether it is gone."""
        with suppress(FileNotFoundError):
            if time.time() - self.place.stat().st_mtime > grace_s:
                shutil.rmtree(self.place)
                return True
        return False

    def _now_s(self) -> float:
        """Return the time by the clock of the files, which may be another machine's."""
        label = self.place / _LABEL
        os.utime(label)
        return label.stat().st_mtime


class Unfinished:
    """A file that is being written; what its last step leaves undone is deleted one day."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self.unfinished = path.with_name(path.name + _UNFINISHED)
        """Where to write it."""

    def finish(self) -> tuple[int, str]:
        """Sync it and give it its name; return its size in bytes and its SHA-256; raise OSError."""
        _sync(self.unfinished)
        self.unfinished.rename(self._path)
        return self._path.stat().st_size, sha256(self._path)


def app_of(name: str) -> int | None:
    """Return whose events are in a file, by its name; None for none, and for one unfinished."""
    found = _NAMED.fullmatch(name)
    return int(found[1]) if found else None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; raise OSError."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def of_database(path: Path, database: str) -> list[Directory]:
    """Return the directories of all archives that a database has had below `archive.path`."""
    try:
        found = [Directory(path, each.name) for each in path.iterdir() if each.is_dir()]
    except FileNotFoundError:
        return []
    return [each for each in found if each.database == database]


def sweep_temporary(path: Path) -> list[str]:
    """Delete what was left in the directory for what is to be gone soon; return its names."""
    gone = []
    for each in (path / TEMPORARY).iterdir():
        with suppress(FileNotFoundError):
            if time.time() - each.stat().st_mtime > _TEMPORARY_S:
                shutil.rmtree(each) if each.is_dir() else each.unlink()
                gone.append(each.name)
    return gone


def _is_data(name: str) -> bool:
    return name.endswith((_SUFFIX, _SUFFIX + _UNFINISHED))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
