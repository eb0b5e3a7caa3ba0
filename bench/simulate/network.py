"""The network between the process and Postgres: delays, cuts, and silence."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bench.chance import happens
from bench.simulate.cluster import Cluster

if TYPE_CHECKING:
    from bench.simulate.connection import Transport

_DELAY_S: Final = (0.000_02, 0.000_5)
_FIRST_PID: Final = 1_000
_PATIENCE_S: Final = 0.5
"""So long after a silence TCP sends again, at most."""


class Network:
    """Carries everything; in order within a connection and a direction."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.transports: dict[Transport, None] = {}
        self.answers_to_lose = 0
        """So many answers to what stored something are lost, with their connections."""
        self.is_silent = False
        """Whether nothing gets through, and nobody hears why."""
        self._held: list[tuple[Transport | None, Callable[[], None]]] = []
        self._pids = itertools.count(_FIRST_PID)

    def new_pid(self) -> int:
        """Return the process id of the next session."""
        return next(self._pids)

    def delay_s(self) -> float:
        """Return how long something is under way."""
        return self.world.random.uniform(*_DELAY_S)

    def carry(
        self, not_before_s: float, transport: "Transport | None", call: Callable[[], None]
    ) -> float:
        """Have something arrive, though not before what was sent before; return when."""
        when_s = max(not_before_s, self.world.now_s + self.delay_s())
        self.world.at(when_s, self._deliver, transport, call)
        return when_s

    def reach(self, tell: Callable[[str], None]) -> None:
        """Try to connect; `tell` hears of it: nothing, or why not."""
        self.carry(0.0, None, lambda: tell(self.cluster.refusing))

    def cut(self) -> None:
        """Break all connections."""
        self._held = [each for each in self._held if each[0] is None]
        for transport in [*self.transports]:
            transport.cut(by_reset=happens(self.world.random, 0.5))

    def be_silent(self) -> None:
        """Let nothing through."""
        self.is_silent = True

    def speak(self) -> None:
        """Let everything through again: what is lost by then is sent again."""
        self.is_silent = False
        held, self._held = self._held, []
        when_s = self.world.now_s + self.world.random.uniform(0.0, _PATIENCE_S)
        for transport, call in held:
            self.world.at(when_s, self._deliver, transport, call)

    def _deliver(self, transport: "Transport | None", call: Callable[[], None]) -> None:
        if self.is_silent:
            self._held.append((transport, call))
        else:
            call()
