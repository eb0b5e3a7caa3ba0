"""A stand-in for another process: it takes from a core what that one took, and asks nobody.

Where server and client are measured on a machine with few cores, the client shares Postgres's. Bare
COPYs without it would have a core that the server's never had. And what questions cost those who
send events, beyond the CPU that they take, is told beside one that is as nice as who answers them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench import servers

_END_TIMEOUT_S: Final = 5.0
_SHARE_MAX: Final = 0.98
_SPINS: Final = 10_000
"""Between two looks at the clock, which the kernel has to be asked for."""


@contextmanager
def beside(
    cores: frozenset[int], share: float, per_s: float, niceness: int = 0, threads: int = 1
) -> Iterator[None]:
    """Keep these cores busy with so much of one core, in so many bursts a second.

    Each burst is of several processes at about one time, of which each takes a core at most.
    """
    with ExitStack() as stack:
        for _ in range(threads if share > 0 else 0):
            stack.enter_context(_one(cores, min(share / threads, _SHARE_MAX), per_s, niceness))
        yield


@contextmanager
def _one(cores: frozenset[int], share: float, per_s: float, niceness: int) -> Iterator[None]:
    child = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", __name__, str(share), str(per_s)],
        env=servers.environment({}),
    )
    try:
        os.setpriority(os.PRIO_PROCESS, child.pid, niceness)
        if cores:
            os.sched_setaffinity(child.pid, cores)
        yield
    finally:
        child.kill()
        child.wait(_END_TIMEOUT_S)


def burn(share: float, per_s: float) -> None:
    """Use so much of a core, in so many bursts a second, until killed or until the parent is gone.

    What counts is the CPU that it was given: where others are before it, its bursts take longer.
    """
    parent = os.getppid()
    begun_s, used_s = time.monotonic(), 0.0
    while os.getppid() == parent:
        used_s += share / per_s
        while time.process_time() < used_s:
            for _ in range(_SPINS):
                pass
        time.sleep(max(0.0, begun_s + used_s / share - time.monotonic()))


if __name__ == "__main__":
    burn(*map(float, sys.argv[1:]))
