"""The event loop of a simulated process: asyncio's own, with time and I/O from the world.

What asyncio promises is kept: callbacks run in the order in which they were scheduled, timers not
before their time and in its order. What it leaves open the seed decides: whether timers or I/O come
first in a round (asyncio and uvloop differ in that), in which order descriptors are ready, and for
how long the process gets no CPU.
"""

# ruff: noqa: SLF001 - it takes the place of the base class's own inside

import asyncio
import heapq
import itertools
from asyncio import BaseEventLoop, Handle, TimerHandle, events
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Final

from bench.chance import log_uniform
from bench.simulate.world import World

_ROUND_S: Final = 20e-6
"""What a round takes."""
_STALL_EVERY_S: Final = 20.0
_STALL_MIN_S: Final = 0.002
_STALL_MAX_S: Final = 1.0
_PUNCTUAL_S: Final = 5.0
_LATE_PART: Final = 0.1
_LATE_S_MAX: Final = 1.0
"""A process that was left alone for longer than `_PUNCTUAL_S` wakes late, by a part of that time:
what polls in an outage of minutes would cost more than all else that happens in it."""
_BUSY_ROUNDS_MAX: Final = 20_000
"""So many rounds without a pause are a loop that turns for nothing."""


class Spinning(Exception):  # noqa: N818 - what the process does
    """The process turns round and round, and never waits."""


class _Running:
    """Which loop runs. asyncio knows it too, and asks the system for the process each time."""

    def __init__(self) -> None:
        self.loop: SimulatedLoop | None = None

    def set(self, loop: "SimulatedLoop | None") -> None:
        """Have this one run, or none."""
        self.loop = loop
        events._set_running_loop(loop)

    def get(self) -> "SimulatedLoop":
        """Stand in for `asyncio.get_running_loop`."""
        if self.loop is None:
            raise RuntimeError("no running event loop")
        return self.loop


running: Final = _Running()


class SimulatedLoop(BaseEventLoop):
    """One life of a process. `go_on` is called by whoever has the world go on."""

    _ready: deque[Handle]

    def __init__(self, world: World, *, are_timers_first: bool) -> None:
        super().__init__()
        self._world = world
        self._are_timers_first = are_timers_first
        self._arrived: list[tuple[object, Handle]] = []
        self._context = copy_context()
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._numbers = itertools.count()
        self._busy_rounds = 0
        self._stalls_s = world.now_s + world.random.expovariate(1 / _STALL_EVERY_S)
        self.is_dead = False
        """Whether it was killed: nothing of it runs any more."""
        self.steps_left: int | None = None
        """After so many callbacks the process is killed."""
        self.on_step: Callable[[], None] | None = None
        self.set_exception_handler(self._note_exception)

    def time(self) -> float:
        """Return the monotonic clock."""
        return self._world.now_s

    def arrive(self, channel: object, call: Callable[..., object], *arguments: object) -> None:
        """Have I/O come in: a callback in the next round. Of one channel in the order of calls."""
        if not self.is_dead:
            self._arrived.append((channel, Handle(call, arguments, self, self._context)))

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> Handle:
        """Have something called in the next round, as the base class does it, without its looks."""
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> TimerHandle:
        """Have something called at a time; of what is due at the same one in the order of calls."""
        timer = TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    @property
    def wakes_s(self) -> float | None:
        """When it wakes, unless something happens before; None for never."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            return None
        due_s = timers[0][0]
        alone_s = due_s - self._world.stirred_s - _PUNCTUAL_S
        return due_s + min(_LATE_S_MAX, alone_s * _LATE_PART) if alone_s > 0 else due_s

    def go_on(self) -> None:
        """Turn until it waits, while the world goes on."""
        world, ready, timers = self._world, self._ready, self._timers
        while ready or self._arrived or (timers and timers[0][0] <= world.now_s):
            world.happen()
            if self.is_dead:
                return
            self._turn()
        self._busy_rounds = 0

    def _turn(self) -> None:
        """Do one round: what has arrived, what is due, and what was ready."""
        world = self._world
        if world.now_s >= self._stalls_s and not world.is_steady:
            self._stall()
        self._gather()
        self._busy_rounds += 1
        if self._busy_rounds > _BUSY_ROUNDS_MAX:
            raise Spinning
        if running.loop is not self:
            running.set(self)
        ready = self._ready
        for _ in range(len(ready)):
            if self.steps_left is not None:
                self._count_step()
            if self.is_dead:
                return
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()
        world.now_s += _ROUND_S

    def leave(self) -> None:
        """Run no more for now."""
        running.set(None)

    def _count_step(self) -> None:
        self.steps_left = (self.steps_left or 0) - 1
        if self.steps_left < 0 and self.on_step is not None:
            self.on_step()

    def _stall(self) -> None:
        """Get no CPU for a while."""
        world = self._world
        world.now_s += log_uniform(world.random, _STALL_MIN_S, _STALL_MAX_S)
        self._stalls_s = world.now_s + world.random.expovariate(1 / _STALL_EVERY_S)
        world.happen()

    def _gather(self) -> None:
        if self._are_timers_first:
            self._take_timers()
            self._take_arrived()
        else:
            self._take_arrived()
            self._take_timers()

    def _take_arrived(self) -> None:
        arrived = self._arrived
        if not arrived:
            return
        self._arrived = []
        if len(arrived) > 1:
            arrived = self._shuffled(arrived)
        self._ready.extend([handle for _, handle in arrived])

    def _shuffled(self, arrived: list[tuple[object, Handle]]) -> list[tuple[object, Handle]]:
        """Return what has arrived in any order but within each channel."""
        lanes: dict[object, deque[tuple[object, Handle]]] = {}
        for each in arrived:
            lanes.setdefault(each[0], deque()).append(each)
        order = [channel for channel, _ in arrived]
        self._world.random.shuffle(order)
        return [lanes[channel].popleft() for channel in order]

    def _take_timers(self) -> None:
        timers, now_s = self._timers, self._world.now_s
        while timers and timers[0][0] <= now_s:
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                self._ready.append(timer)

    def _note_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.is_dead:
            error = context.get("exception")
            self._world.errors.append(f"{context.get('message')}: {error!r}")

    def _timer_handle_cancelled(self, _: TimerHandle) -> None:
        """Leave it where it is; `next_s` passes it by."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""
