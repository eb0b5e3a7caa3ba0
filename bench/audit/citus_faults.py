"""Faults of one of Citus's nodes: it dies, or stands still, while the others go on."""

import asyncio
import signal
from random import Random
from typing import Final

from bench.audit.citus import CitusDatabase
from bench.audit.faults import Fault
from bench.audit.system import System
from bench.chance import log_uniform
from bench.citus import Node

_DOWN_S: Final = (0.05, 4.0)
_HANG_S: Final = (0.1, 6.0)


class _OfNode(Fault):
    def is_possible(self, system: System) -> bool:
        """Whether there are nodes."""
        return isinstance(system.database, CitusDatabase)


class NodeKill(_OfNode):
    """Every process of a worker is killed, and it is started again."""

    name = "node-kill"
    weight = 10

    async def inject(self, system: System, random: Random) -> None:
        """Kill -9."""
        node = _choose(system, random)
        await asyncio.to_thread(node.kill)
        await asyncio.sleep(log_uniform(random, *_DOWN_S))
        await asyncio.to_thread(node.start)


class NodeHang(_OfNode):
    """A worker stands still, every process of it."""

    name = "node-hang"
    weight = 4

    async def inject(self, system: System, random: Random) -> None:
        """SIGSTOP, then SIGCONT."""
        node = _choose(system, random)
        node.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(log_uniform(random, *_HANG_S))
        finally:
            node.send(signal.SIGCONT)


def _choose(system: System, random: Random) -> Node:
    assert isinstance(system.database, CitusDatabase)  # noqa: S101 - is_possible has said so
    return random.choice(system.database.nodes.workers)


FAULTS: Final = (NodeKill(), NodeHang())
