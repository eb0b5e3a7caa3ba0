"""Control groups: the kernel itself gives each process its share of a core.

By `cpu.max` of version 2, or `cpu.cfs_quota_us` of version 1, whichever this process may set.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from bench.scale.share import Share

_MOUNTS: Final = Path("/proc/self/mounts")
_OWN: Final = Path("/proc/self/cgroup")
_ALL: Final = Share(1.0, 0.01)
_REMOVE_TRIES: Final = 50
_REMOVE_PAUSE_S: Final = 0.02


class Place(NamedTuple):
    """Where groups can be made."""

    parent: Path
    home: Path
    """The group of this process, and of all that it starts."""
    is_v2: bool

    @property
    def name(self) -> str:
        """Return what is used."""
        return "cgroup v2, cpu.max" if self.is_v2 else "cgroup v1, cpu.cfs_quota_us"

    def limit(self, group: Path, share: Share) -> None:
        """Give a group its share of a core; OSError."""
        quota_us, period_us = round(share.slice_s * 1e6), round(share.period_s * 1e6)
        if self.is_v2:
            (group / "cpu.max").write_text(f"{quota_us} {period_us}")
        else:
            (group / "cpu.cfs_period_us").write_text(f"{period_us}")
            (group / "cpu.cfs_quota_us").write_text(f"{quota_us}")


def find() -> Place | None:
    """Return where this process may limit others; None if it may nowhere."""
    with suppress(OSError):
        return next(filter(_can_limit, places(_MOUNTS, _OWN)), None)
    return None


def places(mounts: Path, own: Path) -> Iterator[Place]:
    """Yield where groups with a share of the CPU belong, by these two files of /proc; OSError."""
    names = _names(own)
    for line in mounts.read_text().splitlines():
        _, mounted, kind, options, *_ = line.split()
        if kind == "cgroup2" and "" in names:
            yield from _places_v2(Path(mounted), names[""])
        elif kind == "cgroup" and "cpu" in options.split(",") and "cpu" in names:
            home = Path(mounted) / names["cpu"]
            yield Place(home, home, is_v2=False)


@contextmanager
def held(place: Place, pids: Sequence[int], share: Share) -> Iterator[None]:
    """Give each process its share of a core; raise OSError."""
    with ExitStack() as undo:
        for pid in pids:
            group = place.parent / f"nonito-bench-{pid}"
            group.mkdir()
            undo.callback(_remove, group)
            place.limit(group, share)
            _move(pid, group)
            undo.callback(_move_back, pid, place.home)
        yield


def _names(own: Path) -> dict[str, str]:
    """Return the group of this process by controller; that of version 2 has none."""
    found: dict[str, str] = {}
    for line in own.read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), name.strip("/"))
    return found


def _places_v2(mounted: Path, name: str) -> list[Place]:
    """Return the groups, from the own one upwards, whose children may be limited."""
    home = mounted / name
    return [
        Place(each, home, is_v2=True)
        for each in (home, *home.parents)
        if each.is_relative_to(mounted) and "cpu" in _controllers(each)
    ]


def _controllers(group: Path) -> list[str]:
    with suppress(OSError):
        return (group / "cgroup.subtree_control").read_text().split()
    return []


def _can_limit(place: Place) -> bool:
    probe = place.parent / "nonito-bench-probe"
    try:
        probe.mkdir()
    except OSError:
        return False
    try:
        place.limit(probe, _ALL)
    except OSError:
        return False
    finally:
        _remove(probe)
    return True


def _move(pid: int, group: Path) -> None:
    (group / "cgroup.procs").write_text(str(pid))


def _move_back(pid: int, home: Path) -> None:
    with suppress(OSError):  # it has ended
        _move(pid, home)


def _remove(group: Path) -> None:
    """Remove it, once those who have ended in it are gone."""
    for _ in range(_REMOVE_TRIES):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(_REMOVE_PAUSE_S)
