"""The spool's thread, simulated: one job after the other, each for as long as the disk takes.

What a job does it does at one moment; when its caller hears of that is another one. In between the
process may die.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from bench.chance import log_uniform
from bench.simulate.disk import Disk, Killed, Os
from bench.simulate.loop import SimulatedLoop
from bench.simulate.virtual import Patch
from ingest.spool import lock, owner, room, spool, tally

T = TypeVar("T")
Job = tuple[Future[Any], Callable[[], Any]]


class SimulatedThread:
    """Implements what the spool has its thread for."""

    def __init__(self, loop: SimulatedLoop, disk: Disk) -> None:
        self._loop = loop
        self._disk = disk
        self._world = disk.world
        self._jobs: deque[Job] = deque()
        self._is_busy = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have work done behind what was submitted before."""
        job: Future[T] = Future()
        self._jobs.append((job, work))
        self._begin()
        return job

    def stop(self) -> None:
        """End behind the work that was submitted."""

    def _begin(self) -> None:
        if self._jobs and not self._is_busy and not self._loop.is_dead:
            self._is_busy = True
            self._world.after(log_uniform(self._world.random, 5e-6, 5e-4), self._take)

    def _take(self) -> None:
        job, work = self._jobs.popleft()
        if self._loop.is_dead or not job.set_running_or_notify_cancel():
            self._is_busy = False
            self._begin()
            return
        self._world.at(max(self._world.now_s, self._disk.hangs_until_s), self._do, job, work)

    def _do(self, job: Future[Any], work: Callable[[], Any]) -> None:
        if self._loop.is_dead:
            return
        if self._disk.hangs_until_s > self._world.now_s:
            self._world.at(self._disk.hangs_until_s, self._do, job, work)
            return
        try:
            result, error = work(), None
            self._disk.sync()
        except Killed:
            return
        except BaseException as raised:  # noqa: BLE001 - whoever waits for it gets it
            result, error = None, raised
        finally:
            took_s, self._world.busy_s = self._world.busy_s, 0.0
        self._world.after(took_s, self._end, job, result, error)

    def _end(self, job: Future[Any], result: object, error: BaseException | None) -> None:
        self._is_busy = False
        self._loop.arrive(self, _settle, job, result, error)
        self._begin()


def _settle(job: Future[Any], result: object, error: BaseException | None) -> None:
    if error is None:
        job.set_result(result)
    else:
        job.set_exception(error)


def patches(disk: Disk) -> Iterator[Patch]:
    """Yield what the spool has in the place of its thread and of the operating system."""

    def begin(_: str) -> SimulatedThread:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)  # noqa: S101 - for the type checker
        return SimulatedThread(loop, disk)

    yield spool, "_Thread", begin
    yield tally, "_boot", lambda: b"boot %d" % disk.boots
    for module in (lock, owner, room):
        yield module, "os", Os(disk)
