"""The world: one clock, one random sequence and one list of what is to happen, for all models.

Nothing happens but by an event of it or in a process's event loop, so a seed decides everything.
"""

import hashlib
import heapq
import itertools
from collections.abc import Callable
from random import Random
from typing import Any, Final

BEGIN_S: Final = 1_000.0
"""What the monotonic clock shows in the beginning."""
_EPOCH_S: Final = 1_781_000_000.0 - BEGIN_S
"""Of the wall clock: some day in June 2026."""


class Event:
    """Something that is going to happen, unless it is cancelled."""

    __slots__ = ("arguments", "call")

    def __init__(self, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.call: Callable[..., object] | None = call
        self.arguments = arguments

    def cancel(self) -> None:
        """Have it not happen."""
        self.call, self.arguments = None, ()


class World:
    """Everything outside of the process that is simulated, and the time in it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - repeatable, not secret
        self.entropy = Random(f"entropy of {seed}")  # noqa: S311 - repeatable, not secret
        """What the operating system gives to whoever asks for random bytes."""
        self.now_s = BEGIN_S
        self.busy_s = 0.0
        """How long the work of the thread that runs has taken so far: for that it is later."""
        self.stirred_s = BEGIN_S
        """When anything was last done to the process: by clients, by operators or by fate."""
        self.is_steady = False
        """Whether the process has the CPU whenever it wants it."""
        self.wall_step_s = 0.0
        """How far the wall clock was set since the beginning."""
        self.trace: list[str] = []
        """What happened, a line each."""
        self.errors: list[str] = []
        """What the product logged as an error of its own: an honest one has none."""
        self.told_events = 0
        """How many events the product said are lost in files that it keeps for a person."""
        self._heap: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()

    @property
    def wall_s(self) -> float:
        """Unix time."""
        return _EPOCH_S + self.now_s + self.busy_s + self.wall_step_s

    @property
    def elapsed_s(self) -> float:
        """How long it has been going on."""
        return self.now_s - BEGIN_S

    def after(self, delay_s: float, call: Callable[..., object], *arguments: object) -> Event:
        """Have something happen in a while."""
        return self.at(self.now_s + delay_s, call, *arguments)

    def at(self, when_s: float, call: Callable[..., object], *arguments: object) -> Event:
        """Have something happen at a time."""
        event = Event(call, arguments)
        heapq.heappush(self._heap, (when_s, next(self._numbers), event))
        return event

    @property
    def next_s(self) -> float | None:
        """When the next thing happens; None if nothing does."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def happen(self) -> None:
        """Have everything happen that is due by now."""
        heap = self._heap
        while heap and heap[0][0] <= self.now_s:
            event = heapq.heappop(heap)[2]
            if event.call is not None:
                event.call(*event.arguments)

    def stir(self) -> None:
        """Note that something befalls the process now, so that it is not left alone."""
        self.stirred_s = self.now_s

    def note(self, text: str) -> None:
        """Note what happens."""
        self.trace.append(f"{self.elapsed_s:11.6f}  {text}")

    def digest(self) -> str:
        """Return what stands for all that happened: the same for the same seed."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()
