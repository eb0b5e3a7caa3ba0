"""Faults of the insights process and of the archive's files: no client is to notice any."""

import asyncio
import signal
from abc import abstractmethod
from random import Random
from typing import Final

from bench.audit import failpoints, session, waiting
from bench.audit.failpoints import Step
from bench.audit.faults import SERVER_GONE, Aim, Fault
from bench.audit.server_faults import CRASHES
from bench.audit.system import LISTEN_TIMEOUT_S, STAFFED_S_MAX, System
from bench.chance import log_uniform

_LIVES_S: Final = (0.05, 3.0)
_STOPPED_S: Final = (0.1, 6.0)
_FULL_S: Final = (0.3, 3.0)
_AGES_S: Final = (0.5, 4.0)
_HASTE: Final = 0.3
"""The share of faults for which nobody waits until the insights process serves; and of exchanges
while there is none."""
_STEP_TIMEOUT_S: Final = 6.0
"""An archiver begins a round twice a second, and a second behind a failure."""
_PASSAGES_MAX: Final = 4
_POLL_S: Final = 0.02
_SERVES_POLL_S: Final = 0.1
_DEATHS: Final = tuple(step for step in failpoints.STEPS if step.needs == failpoints.ARCHIVE)


class _OfArchive(Fault):
    """A fault of a server that serves, and whose insights process is there, and mostly serves."""

    aim = Aim.ONE

    def is_possible(self, system: System) -> bool:
        """Require the archive."""
        return system.archive is not None

    async def inject(self, system: System, random: Random) -> None:
        """Wait until it serves, and go on."""
        await system.server.wait_until_listening(LISTEN_TIMEOUT_S)
        if await _come(system) is None:
            text = f"no insights process, {STAFFED_S_MAX:.0f} s on"
            system.recorder.unstaffed(f"{self.name}: {text}")
            return
        if random.random() > _HASTE:
            await waiting.until_in_thread(system.server.has_insights, STAFFED_S_MAX, _SERVES_POLL_S)
        await self.befall(system, random)

    @abstractmethod
    async def befall(self, system: System, random: Random) -> None:
        """Begin it, let it last, lift it."""


class InsightsKilled(_OfArchive):
    """The insights process is killed, at any time of its life."""

    name = "insights-killed"
    weight = 4

    async def befall(self, system: System, random: Random) -> None:
        """Kill -9."""
        await asyncio.sleep(log_uniform(random, *_LIVES_S))
        if (pid := system.server.insights) is not None:
            system.server.kill_member(pid)


class InsightsHung(_OfArchive):
    """The insights process does nothing for some seconds, with a transaction open or without."""

    name = "insights-hung"
    weight = 2

    async def befall(self, system: System, random: Random) -> None:
        """SIGSTOP, and SIGCONT before anybody takes it for dead."""
        if (pid := system.server.insights) is None:
            return
        session.send([pid], signal.SIGSTOP)
        try:
            await asyncio.sleep(log_uniform(random, *_STOPPED_S))
        finally:
            session.send([pid], signal.SIGCONT)


class InsightsDies(_OfArchive):
    """The insights process kills itself between two steps, alone or with all of the server."""

    weight = 1
    excuses = SERVER_GONE

    def __init__(self, step: Step) -> None:
        self._step = step
        self.name = f"die-{step.name}"

    async def befall(self, system: System, random: Random) -> None:
        """Arm it, and wait until it has happened or can't be expected."""
        server = system.server
        life, deaths = server.starts, len(server.deaths())
        is_crash = random.random() < CRASHES
        server.is_death_expected = is_crash
        action = "crash" if is_crash else "kill"
        server.arm(f"{self._step.name}:{random.randint(1, _PASSAGES_MAX)}={action}")
        if not await _soon(lambda: len(server.deaths()) != deaths):
            system.recorder.note(f"{self.name}: nothing came along")
        elif is_crash:
            await _soon(lambda: server.starts != life)
        server.disarm()
        await server.wait_until_listening(LISTEN_TIMEOUT_S)


class ArchiveDiskError(_OfArchive):
    """Files of the archive can't be made durable: EIO, three times."""

    name = "archive-disk-error"
    weight = 2

    async def befall(self, system: System, random: Random) -> None:
        """Before or behind the sync of a file, or behind that of the directory."""
        steps = ("before-file-sync", "after-file-sync", "after-directory-sync")
        system.server.arm(f"archive-{random.choice(steps)}:1=eio")
        await asyncio.sleep(log_uniform(random, *_FULL_S))
        system.server.arm("")


class ArchiveDiskFull(_OfArchive):
    """The archive's disk has no byte left."""

    name = "archive-disk-full"
    weight = 2

    def is_possible(self, system: System) -> bool:
        """Require a disk of its own: it would fill somebody else's."""
        return system.archive is not None and system.archive.is_own

    async def befall(self, system: System, random: Random) -> None:
        """Take all the room for a while."""
        if system.archive is None:
            return
        await asyncio.to_thread(system.archive.fill)
        try:
            await asyncio.sleep(log_uniform(random, *_FULL_S))
        finally:
            system.archive.free()


class ArchiveFileLost(_OfArchive):
    """A file of the archive is gone."""

    name = "archive-file-lost"
    weight = 1
    spoils_archive = True

    async def befall(self, system: System, random: Random) -> None:
        """Delete it."""
        if system.archive is None or not system.archive.lose_one(random):
            raise OSError("there was no file of the archive to lose")


class ArchiveExchanged(_OfArchive):
    """The archive's directory is what it was a while ago, as from a backup of its own."""

    name = "archive-exchanged"
    weight = 1
    spoils_archive = True

    async def befall(self, system: System, random: Random) -> None:
        """Copy it, let time pass, and exchange it; sometimes while nobody works on it."""
        if system.archive is None:
            return
        if not await asyncio.to_thread(system.archive.put_aside):
            raise OSError("there was no file of the archive yet")
        await asyncio.sleep(log_uniform(random, *_AGES_S))
        if (pid := system.server.insights) is not None and random.random() < _HASTE:
            system.server.kill_member(pid)
        await asyncio.to_thread(system.archive.put_back)


async def rebuild(system: System) -> None:
    """Have the archive made anew, as an operator has to who puts rows where they were."""
    if system.archive is not None:
        await asyncio.to_thread(system.server.command, "archive", "rebuild", "--yes")


async def _come(system: System) -> int | None:
    """Wait until there is an insights process, and return its number; None if none comes."""
    await waiting.until(lambda: system.server.insights is not None, STAFFED_S_MAX, _POLL_S)
    return system.server.insights


async def _soon(condition: waiting.Condition) -> bool:
    return await waiting.until(condition, _STEP_TIMEOUT_S, _POLL_S)


FAULTS: Final = (
    InsightsKilled(), InsightsHung(), *map(InsightsDies, _DEATHS),
    ArchiveDiskError(), ArchiveDiskFull(), ArchiveFileLost(), ArchiveExchanged(),
)  # fmt: skip
