"""How many cores this process may use, by its affinity and its control group."""

import math
import os
from contextlib import suppress

from ingest import control_group


def count() -> int:
    """Return it, at least 1; a quota of 1.5 cores counts as 2."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(affine or 1, _quota())))


def _quota() -> float:
    """Return the least quota of its group and of those above; infinity without one."""
    quotas = [math.inf]
    for words in control_group.limits("cpu.max"):
        with suppress(ValueError):
            quota, period = words
            quotas.append(int(quota) / int(period))
    return min(quotas)
