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
from contextlib import contextmanager
from typing import Final

from bench import servers

_END_TIMEOUT_S: Final = 5.0


@contextmanager
def beside(cores: frozenset[int], share: float, per_s: float, niceness: int = 0) -> Iterator[None]:
    """Keep these cores busy with so much of one core, in so many bursts a second."""
    child = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", __name__, str(share / per_s), str((1 - share) / per_s)],
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


def burn(busy_s: float, idle_s: float) -> None:
    """Work and sleep by turns until killed, or until the parent is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        end_s = time.perf_counter() + busy_s
        while time.perf_counter() < end_s:
            pass
        time.sleep(max(0.0, idle_s))


if __name__ == "__main__":
    burn(*map(float, sys.argv[1:]))
