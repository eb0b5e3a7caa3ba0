"""A duty cycle: processes are stopped and continued by signals, by the CPU time that each has used.

For machines whose control groups can't be set. A process earns its share of the time that passes;
with nothing left it is stopped, and goes on when it has saved up a slice.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from bench.machine import cpu_clock_s
from bench.scale.share import Share

NAME: Final = "SIGSTOP and SIGCONT, by measured CPU time"
_LOOK_S: Final = 0.001


@contextmanager
def held(pids: Sequence[int], share: Share) -> Iterator[None]:
    """Give each process its share of a core."""
    over = threading.Event()
    cycles = [Cycle(pid, share) for pid in pids]
    thread = threading.Thread(target=_turn, args=(cycles, over), name="duty cycle")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for cycle in cycles:
            cycle.release()


class Cycle:
    """One process."""

    def __init__(self, pid: int, share: Share) -> None:
        self._pid = pid
        self._share = share
        self._left_s = share.slice_s
        """What it may use before it is stopped; below 0 what it has used too much."""
        self._is_stopped = False
        self._seen_s, self._used_s = time.monotonic(), cpu_clock_s(pid)

    def look(self) -> None:
        """Stop it, or let it go on."""
        now_s, used_s = time.monotonic(), cpu_clock_s(self._pid)
        earned_s = (now_s - self._seen_s) * self._share.of_core
        left_s = self._left_s + earned_s - (used_s - self._used_s)
        self._left_s = min(left_s, self._share.slice_s)
        self._seen_s, self._used_s = now_s, used_s
        if self._is_stopped and self._left_s >= self._share.slice_s:
            self.release()
        elif not self._is_stopped and self._left_s <= 0:
            os.kill(self._pid, signal.SIGSTOP)
            self._is_stopped = True

    def release(self) -> None:
        """Let it go on."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGCONT)
        self._is_stopped = False


def _turn(cycles: Sequence[Cycle], over: threading.Event) -> None:
    while not over.wait(_LOOK_S):
        for each in cycles:
            with suppress(OSError):  # it has ended, which others will say
                each.look()
