"""A timer to the microsecond for the open loop; uvloop's own timers count whole milliseconds."""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE = 1


class _Times(ctypes.Structure):
    """`struct itimerspec`: no interval, and when to fire."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )


class Ticker:
    """Calls back once each time it is armed, from the event loop; Linux's timerfd."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._library = ctypes.CDLL(None, use_errno=True)
        self._file = self._library.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop.add_reader(self._file, self._fire)

    def arm(self, at_s: float) -> None:
        """Fire at `at_s` by time.perf_counter, which on Linux is the monotonic clock."""
        seconds, nanoseconds = divmod(max(int(at_s * 1e9), time.perf_counter_ns()), 1_000_000_000)
        times = _Times(0, 0, seconds, nanoseconds)
        self._library.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(times), None)

    def close(self) -> None:
        """Fire no more."""
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def _fire(self) -> None:
        os.read(self._file, 8)
        self._callback()
