"""How many cores this process may use, by its affinity and its control group."""

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")


def count() -> int:
    """Return it, at least 1; a quota of 1.5 cores counts as 2."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(affine or 1, _quota())))


def _quota() -> float:
    """Return the least `cpu.max` of its group and of those above; infinity without one."""
    quotas = [math.inf]
    with suppress(OSError, ValueError):
        name = _OWN.read_text().strip().removeprefix("0::").strip("/")
        group = _GROUPS / name
        for each in (group, *group.parents):
            if not each.is_relative_to(_GROUPS):
                break
            with suppress(OSError, ValueError):
                quota, period = (each / "cpu.max").read_text().split()
                quotas.append(math.inf if quota == "max" else int(quota) / int(period))
    return min(quotas)
