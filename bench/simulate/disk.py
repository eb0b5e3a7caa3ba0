"""The simulated disk of the spool: real files in memory, with what a disk may do to them.

The spool's own code and SQLite write to a directory of a file system in memory. Between them stands
a storage that can fail, be slow, and die in the middle of an operation. What was there before a
write that failed is remembered, so a loss of power takes such a write; a killed process leaves all
that it has written.
"""

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.simulate.world import World
from ingest.spool.failures import StorageFailed, StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FREE_BYTES: Final = 1 << 34
_OP_S: Final = (0.000_02, 0.002)
_OP_S_MAX: Final = 1.0
_HALF: Final = 0.5

Image = dict[str, bytes]
"""Files by name."""


class Killed(BaseException):
    """The process is dead: nothing that follows happens."""


class Disk:
    """One directory, and whatever happens to it."""

    def __init__(self, world: World, directory: Path, factor: float) -> None:
        self.world = world
        self.directory = directory
        self.is_full = False
        self.is_failing = False
        self.usual_factor = self.slow_factor = factor
        """How slow it is."""
        self.hangs_until_s = 0.0
        self.dies_in: int | None = None
        """In so many operations the process dies, in the middle of the last of them."""
        self.loses_power = False
        """Whether the machine dies with it."""
        self.on_death: Callable[[], None] = lambda: None
        self.boots = 0
        """How often the machine has started again."""
        self._synced: Image | None = None
        """What is there for good, where that is not all that is there."""
        self._left: Image | None = None
        """What the dead process has left."""

    @property
    def free_bytes(self) -> int:
        """What is free."""
        return 0 if self.is_full else FREE_BYTES

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.directory / name).exists()

    def read(self) -> None:
        """Take part in an operation that only reads; raise StorageFailed."""
        self._spend()
        if self.is_failing and self.world.random.random() < _HALF:
            raise StorageFailed("OSError, EIO")

    def write(self, operate: "Callable[[], Any]") -> Any:  # noqa: ANN401 - what the operation returns
        """Take part in one that writes; raise StorageFull or StorageFailed.

        A failed one may have been done all the same.
        """
        self._spend()
        if self.is_full:
            raise StorageFull("OSError, ENOSPC")
        if self._is_last():
            self._die_in(operate)
        if self.is_failing:
            if self.world.random.random() < _HALF:
                self._keep_synced()
                operate()
            raise StorageFailed("OSError, EIO")
        result = operate()
        self.sync()
        return result

    def sync(self) -> None:
        """Have all that is written there for good."""
        self._synced = None

    def kill(self, *, with_power: bool) -> None:
        """Keep what a process leaves that dies now."""
        if self._left is None:
            is_lossy = with_power and self._synced is not None
            self._left = self._synced if is_lossy else self._image()
            self.on_death()

    def revive(self) -> None:
        """Have in the directory what the dead process has left, and nothing else."""
        left, self._left = self._left, None
        if left is None:
            return
        self.boots += self.loses_power
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        for name, content in left.items():
            (self.directory / name).write_bytes(content)
        self._synced = None

    @property
    def is_dead(self) -> bool:
        """Whether nothing that is written now counts."""
        return self._left is not None

    def _keep_synced(self) -> None:
        """Remember what is there for good, before something is written that may be lost."""
        if self.loses_power and self._synced is None:
            self._synced = self._image()

    def _spend(self) -> None:
        if self._left is not None:
            raise Killed
        took_s = self.world.random.uniform(*_OP_S) * self.slow_factor
        self.world.busy_s += min(took_s, _OP_S_MAX)

    def _is_last(self) -> bool:
        if self.dies_in is None:
            return False
        self.dies_in -= 1
        return self.dies_in < 0

    def _die_in(self, operate: "Callable[[], Any]") -> None:
        """Do a part of an operation, and die."""
        self.dies_in = None
        before = self._image()
        operate()
        self._left = _torn(before, self._image(), self.world)
        self.on_death()
        raise Killed

    def _image(self) -> Image:
        return {each.name: each.read_bytes() for each in sorted(self._files())}

    def _files(self) -> "Iterator[Path]":
        if not self.directory.is_dir():
            return iter(())
        # Without the index that SQLite keeps in memory, which each process makes anew.
        return (each for each in self.directory.iterdir() if not each.name.endswith("-shm"))


def _torn(before: Image, after: Image, world: World) -> Image:
    """Return the files as they are when only a part was written: a log from its front on."""
    torn = dict(after)
    for name, content in after.items():
        old = before.get(name, b"")
        if content != old and name.endswith("-wal"):
            kept = world.random.randint(_common_bytes(old, content), len(content))
            torn[name] = content[:kept] + old[kept:]
    return torn


def _common_bytes(old: bytes, new: bytes) -> int:
    """Return how many bytes two contents begin with alike."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Os:
    """Stands in for `os` in the modules of the spool."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever `os` has
        return getattr(os, name)

    def statvfs(self, path: Path) -> os.statvfs_result:
        """Return how much is free."""
        found = [*os.statvfs(path)]
        found[0], found[1], found[4] = 1, 1, self._disk.free_bytes
        return os.statvfs_result(found)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """Open a file; a new one has to have room."""
        if flags & os.O_CREAT and self._disk.is_full and not Path(path).exists():
            raise OSError(errno.ENOSPC, "no room")
        if self._disk.is_dead:
            raise Killed
        return os.open(path, flags, mode)
