"""The archive of the servers under audit: its settings, its disk, and what can befall its files."""

import shutil
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from bench.audit.disk import BALLAST, SmallDisk
from bench.audit.sockets import free_port

_TMPFS_BYTES: Final = 1 << 30
_FILES: Final = "*.parquet"
_OLDER: Final = "older"


class ArchiveDisk(SmallDisk):
    """The directory of the archive, on a small filesystem of its own where that is permitted."""

    def __init__(self, directory: Path, servers: int = 1) -> None:
        super().__init__(directory, _TMPFS_BYTES)
        self.ports = [free_port() for _ in range(servers)]
        """Where each server answers questions."""

    def settings(self, server: int) -> dict[str, object]:
        """Return what one of the servers needs to be told that keep their archive here."""
        return {
            "archive.enabled": True,
            "archive.path": self.directory,
            "archive.interval_s": 0.5,
            "archive.memory_max": 64 << 20,
            "dashboard.question_memory_max": 64 << 20,
            "dashboard.question_threads": 1,
            "dashboard.enabled": True,
            "dashboard.port": self.ports[server],
            "dashboard.questions_per_minute_max": 6_000,
        }

    def lose_one(self, random: Random) -> bool:
        """Delete a file; return whether there was one."""
        for path in random.sample(files := self._files(), len(files)):
            if path.exists():
                path.unlink()
                return True
        return False

    def put_aside(self) -> int:
        """Copy what is there; return how many files that were."""
        older = self._older()
        shutil.rmtree(older, ignore_errors=True)
        ignore, copy = _without_what_is_fleeting, _copy_if_there
        shutil.copytree(self.directory, older, ignore=ignore, copy_function=copy)
        return len([*older.glob(f"*/{_FILES}")])

    def put_back(self) -> None:
        """Have what was put aside be what is there: each archive as it was then."""
        older = self._older()
        for place in [*older.iterdir()]:
            here = self.directory / place.name
            if not here.exists():
                continue  # it was given up meanwhile
            new, old = (here.with_name(f"{here.name}-{what}") for what in ("new", "old"))
            shutil.move(place, new)
            here.rename(old)  # at once: somebody works in it
            new.rename(here)
            shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(older)

    def _older(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}-{_OLDER}")

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob(f"*/{_FILES}"))


def _copy_if_there(source: str, target: str) -> None:
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def _without_what_is_fleeting(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name in {BALLAST, "temporary"} or "unfinished" in name]
