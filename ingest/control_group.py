"""What limits the control group of this process, and those above it (cgroup v2)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_NONE: Final = "max"


def limits(name: str) -> Iterator[list[str]]:
    """Yield the words of a file of that name, as `cpu.max`, of each group that has such a limit."""
    try:
        own = _OWN.read_text().strip().removeprefix("0::").strip("/")
    except OSError:
        return
    group = _GROUPS / own
    for each in (group, *group.parents):
        if not each.is_relative_to(_GROUPS):
            return
        with suppress(OSError):
            words = (each / name).read_text().split()
            if words and words[0] != _NONE:
                yield words
