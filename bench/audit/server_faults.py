"""Faults of the server's process, alone and together with Postgres, and its failpoints."""

import asyncio
import resource
from collections.abc import Callable
from random import Random
from typing import Final

from bench.audit import failpoints, waiting
from bench.audit.failpoints import Step
from bench.audit.faults import DISK_FAILING, SERVER_GONE, STOPPING, Aim, Fault
from bench.audit.system import LISTEN_TIMEOUT_S, System
from bench.audit.workload import TOKEN

_DOWN_S: Final = 0.2
_HASTE: Final = 0.2
"""The share of restarts whose server is not waited for before the next fault."""
_FAILPOINT_TIMEOUT_S: Final = 2.0
_POLL_S: Final = 0.01
_OUTAGE_S: Final = 0.4
_OTHERS: Final = frozenset({"disk", failpoints.ARCHIVE})
"""Steps at which a worker does not die."""
_PASSAGES_MAX: Final = 40
_ROOM_BYTES_MAX: Final = 200_000
CRASHES: Final = 0.3
"""The share of deaths at a step that take all of the server with them."""


async def start(system: System, random: Random) -> None:
    """Start the server, and mostly wait until it listens."""
    system.server.spawn()
    if random.random() > _HASTE:
        await system.server.wait_until_listening(LISTEN_TIMEOUT_S)


class ServerKill(Fault):
    """The server is killed and started again."""

    name = "server-kill"
    aim = Aim.SOME
    weight = 8
    excuses = SERVER_GONE

    async def inject(self, system: System, random: Random) -> None:
        """Kill -9, sometimes while it starts."""
        system.server.kill()
        await asyncio.sleep(random.uniform(0, _DOWN_S))
        await start(system, random)


class BothKill(Fault):
    """Server and Postgres are killed at once, and started in either order."""

    name = "both-kill"
    aim = Aim.ONE
    weight = 4
    excuses = SERVER_GONE

    async def inject(self, system: System, random: Random) -> None:
        """Kill -9 of both."""
        await asyncio.gather(system.database.kill(), asyncio.to_thread(system.server.kill))
        await asyncio.sleep(random.uniform(0, _DOWN_S))
        await asyncio.gather(system.database.start(), start(system, random))


class ServerTerminate(Fault):
    """The server is told to stop, with Postgres there or away, and started again."""

    name = "server-terminate"
    aim = Aim.SOME
    weight = 4
    excuses = STOPPING

    async def inject(self, system: System, random: Random) -> None:
        """SIGTERM; it has to end with exit code 0."""
        is_away = random.random() < 0.25  # noqa: PLR2004 - one in four
        if is_away:
            system.proxy.refuse()
            await asyncio.sleep(random.uniform(0, _OUTAGE_S))
        await system.terminate_server()
        system.proxy.allow()
        await start(system, random)


class Failpoint(Fault):
    """A worker kills itself between two steps, alone or with all of the server."""

    aim = Aim.SOME
    weight = 2
    excuses = SERVER_GONE

    def __init__(self, step: Step) -> None:
        self._step = step
        self.name = f"die-{step.name}"

    def is_possible(self, system: System) -> bool:  # noqa: ARG002
        """Require the step: versions of the server differ."""
        return self._step in failpoints.possible()

    async def inject(self, system: System, random: Random) -> None:
        """Arm it, make its step likely, and wait until it has happened or can't be expected."""
        await system.server.wait_until_listening(LISTEN_TIMEOUT_S)
        life, deaths = system.server.starts, len(system.server.deaths())
        is_crash = random.random() < CRASHES
        system.server.is_death_expected = is_crash
        passages = 1 if self._step.needs else random.randint(1, _PASSAGES_MAX)
        system.server.arm(f"{self._step.name}:{passages}={'crash' if is_crash else 'kill'}")
        if self._step.needs:
            await outage(system, random)
        if not await _soon(lambda: len(system.server.deaths()) != deaths):
            system.recorder.note(f"{self.name}: nothing came along")
        elif is_crash:
            await _soon(lambda: system.server.starts != life)
        system.server.disarm()
        await system.server.wait_until_listening(LISTEN_TIMEOUT_S)
        if random.random() > _HASTE:
            await system.see_staffed(self.name)


class OutageKill(Fault):
    """The server is killed while it spools."""

    name = "outage-kill"
    aim = Aim.SOME
    weight = 5
    excuses = SERVER_GONE

    async def inject(self, system: System, random: Random) -> None:
        """Kill -9 in the middle of an outage; start it in the outage or behind it."""
        system.proxy.refuse()
        await asyncio.sleep(random.uniform(0.05, _OUTAGE_S))
        system.server.kill()
        if random.random() < 0.5:  # noqa: PLR2004 - either order
            system.proxy.allow()
        await start(system, random)
        system.proxy.allow()


class SpoolDiskError(Fault):
    """The spool's writes fail while Postgres is away: EIO, or a short write."""

    name = "spool-disk-error"
    aim = Aim.SOME
    weight = 3
    excuses = DISK_FAILING

    def is_possible(self, system: System) -> bool:  # noqa: ARG002
        """Require a spool."""
        return any(step.needs == "disk" for step in failpoints.possible())

    async def inject(self, system: System, random: Random) -> None:
        """Three writes in a row fail, before or behind what they were to do."""
        await system.server.wait_until_listening(LISTEN_TIMEOUT_S)
        step = random.choice(("spool-write", "spool-sync"))
        # SQLite never says that the disk is full about what it has committed.
        how = "eio" if step == "spool-sync" else random.choice(("eio", "full"))
        armed = [f"{step}:1={how}"]
        if random.random() < 0.5:  # noqa: PLR2004 - half the time no new file can be made either
            armed.append("spool-create:1=eio")
        system.server.arm(",".join(armed))
        await outage(system, random)
        system.server.arm("")


class SpoolShortWrites(Fault):
    """The spool's writes stop in the middle of a page while Postgres is away."""

    name = "spool-short-writes"
    aim = Aim.SOME
    weight = 2
    excuses = DISK_FAILING

    async def inject(self, system: System, random: Random) -> None:
        """Limit how large the server's files may grow, a little beyond the largest there is."""
        await system.server.wait_until_listening(LISTEN_TIMEOUT_S)
        system.proxy.refuse()
        await asyncio.sleep(random.uniform(0, _OUTAGE_S))
        system.server.limit_files(system.largest_file_bytes() + random.randint(1, _ROOM_BYTES_MAX))
        try:
            await asyncio.sleep(random.uniform(_OUTAGE_S / 2, _OUTAGE_S))
        finally:
            system.server.limit_files(resource.RLIM_INFINITY)
            system.proxy.allow()


class SpoolDamage(Fault):
    """A bit turns in what was spooled: that batch is lost, and nothing else may be."""

    name = "spool-damage"
    aim = Aim.SOME
    weight = 0
    excuses = SERVER_GONE

    def is_possible(self, system: System) -> bool:  # noqa: ARG002
        """Require a spool."""
        return any(step.needs == "disk" for step in failpoints.possible())

    async def inject(self, system: System, random: Random) -> None:
        """Let it spool, kill it, turn a bit, start it."""
        system.proxy.refuse()
        await asyncio.sleep(2 * _OUTAGE_S)
        system.server.kill()
        for batch in await asyncio.to_thread(system.spool.spoil, random):
            for token in TOKEN.findall(batch):
                system.recorder.damaged(token.decode())
        system.proxy.allow()
        await start(system, random)


class Stall(Fault):
    """The event loop stands still for a third of a second in the middle of its answers."""

    name = "server-stall"
    aim = Aim.SOME
    weight = 1

    async def inject(self, system: System, random: Random) -> None:
        """Block it."""
        await system.server.wait_until_listening(LISTEN_TIMEOUT_S)
        system.server.arm(f"mid-acks:{random.randint(1, _PASSAGES_MAX)}=stall")
        await asyncio.sleep(2 * _OUTAGE_S)
        system.server.arm("")


async def _soon(condition: Callable[[], bool]) -> bool:
    return await waiting.until(condition, _FAILPOINT_TIMEOUT_S, _POLL_S)


async def outage(system: System, random: Random) -> None:
    """Keep the server from Postgres for a moment, so that it spools, and replays afterwards."""
    system.proxy.refuse()
    await asyncio.sleep(random.uniform(_OUTAGE_S / 2, _OUTAGE_S))
    system.proxy.allow()


FAULTS: Final = (
    ServerKill(), BothKill(), ServerTerminate(), OutageKill(), SpoolDiskError(),
    SpoolShortWrites(), SpoolDamage(), Stall(),
    *(Failpoint(step) for step in failpoints.STEPS if step.needs not in _OTHERS),
)  # fmt: skip
