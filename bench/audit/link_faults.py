"""Faults of the way to Postgres, made by the proxy, and of the spool's disk behind them."""

import asyncio
from random import Random
from typing import Final

from bench.audit.faults import DISK_FAILING, Aim, Fault
from bench.audit.proxy import Trap, Way
from bench.audit.system import System
from bench.chance import log_uniform

_HELD_S: Final = (0.05, 4.0)
_STRANDED_S: Final = (0.2, 6.0)
_REFUSED_S: Final = (0.05, 2.0)
_TRAP_TIMEOUT_S: Final = 2.0
_FULL_S: Final = (0.2, 1.0)


class LinkCut(Fault):
    """Every connection to Postgres is reset."""

    name = "link-cut"
    aim = Aim.SOME
    weight = 6

    async def inject(self, system: System, random: Random) -> None:  # noqa: ARG002 - a moment
        """Send an RST on each."""
        system.proxy.cut()


class LinkHeld(Fault):
    """No byte passes for a while, and nobody is told."""

    name = "link-held"
    aim = Aim.SOME
    weight = 3

    way = Way.BOTH

    async def inject(self, system: System, random: Random) -> None:
        """Hold, then release everything at once."""
        system.proxy.hold(self.way)
        try:
            await asyncio.sleep(log_uniform(random, *_HELD_S))
        finally:
            system.proxy.release()


class LinkDeaf(LinkHeld):
    """Postgres hears, and nothing comes back: what it commits nobody is told."""

    name = "link-deaf"
    weight = 2
    way = Way.ANSWERED


class LinkMute(LinkHeld):
    """Nothing that the server sends arrives, and it is told nothing of that."""

    name = "link-mute"
    weight = 2
    way = Way.SENT


class LinkStranded(Fault):
    """The server is cut off in the middle of a COPY, and Postgres goes on waiting for it."""

    name = "link-stranded"
    weight = 4
    aim = Aim.SOME

    async def inject(self, system: System, random: Random) -> None:
        """Strand all connections; the server may connect again at once, or not before the end."""
        if not await system.proxy.spring(Trap.STRANDED, _TRAP_TIMEOUT_S):
            system.recorder.note(f"{self.name}: nothing came along")
        if random.random() < 0.5:  # noqa: PLR2004 - either
            system.proxy.refuse_newcomers()
        system.proxy.strand()
        try:
            await asyncio.sleep(log_uniform(random, *_STRANDED_S))
        finally:
            system.proxy.release()
            system.proxy.allow()


class LinkRefused(Fault):
    """Postgres can't be reached."""

    name = "link-refused"
    aim = Aim.SOME
    weight = 4

    async def inject(self, system: System, random: Random) -> None:
        """Reset whoever connects."""
        system.proxy.refuse()
        try:
            await asyncio.sleep(log_uniform(random, *_REFUSED_S))
        finally:
            system.proxy.allow()


class _Trapped(Fault):
    aim = Aim.SOME
    trap: Trap

    async def inject(self, system: System, random: Random) -> None:  # noqa: ARG002
        """Set the trap and wait for a commit."""
        if not await system.proxy.spring(self.trap, _TRAP_TIMEOUT_S):
            system.recorder.note(f"{self.name}: nothing came along")


class CommitAnswerLost(_Trapped):
    """The link is cut when Postgres has committed and before anybody hears of it."""

    name = "commit-answer-lost"
    weight = 8
    trap = Trap.BEFORE_ANSWER


class CutBehindCommit(_Trapped):
    """The link is cut just behind a commit's answer."""

    name = "cut-behind-commit"
    weight = 5
    trap = Trap.AFTER_ANSWER


class HalfSent(_Trapped):
    """The link is cut in the middle of a COPY."""

    name = "half-sent"
    weight = 5
    trap = Trap.HALF_SENT


class SpoolDiskFull(Fault):
    """The spool's disk has no byte left, and Postgres is away."""

    name = "spool-disk-full"
    aim = Aim.SOME
    weight = 2
    excuses = DISK_FAILING

    def is_possible(self, system: System) -> bool:
        """Require a filesystem of its own: it would fill somebody else's."""
        return system.spool.is_own

    async def inject(self, system: System, random: Random) -> None:
        """Fill it, cut the link, lift both in either order."""
        await asyncio.to_thread(system.spool.fill)
        try:
            system.proxy.refuse()
            await asyncio.sleep(log_uniform(random, *_FULL_S))
            if random.random() < 0.5:  # noqa: PLR2004 - either order
                system.proxy.allow()
                await asyncio.sleep(log_uniform(random, *_FULL_S))
        finally:
            system.spool.free()
            system.proxy.allow()


FAULTS: Final = (
    LinkCut(), LinkHeld(), LinkDeaf(), LinkMute(), LinkStranded(), LinkRefused(),
    CommitAnswerLost(), CutBehindCommit(), HalfSent(), SpoolDiskFull(),
)  # fmt: skip
