"""Faults of single workers and of the supervisor: killed, stopped, hung, replaced, more and fewer.

Of a worker that is killed the clients' connections are noted first, while it stands still: no
others may break.
"""

import asyncio
import signal
import time
from abc import abstractmethod
from collections.abc import Iterable
from random import Random
from typing import Final

from bench.audit import session, starvation
from bench.audit.faults import SERVER_GONE, STOPPING, Aim, Fault
from bench.audit.history import EARLY, UNANSWERED
from bench.audit.server_faults import start
from bench.audit.system import LISTEN_TIMEOUT_S, STAFFED_S_MAX, System

_ORPHANED_S_MAX: Final = 15.0
"""So long a worker may take to end behind its supervisor."""
_REPLACED_S_MAX: Final = 60.0
_STUCK_S_MAX: Final = 25.0
"""So long a worker may do nothing: the watchdog's 10 s, and 2 s for its stacks."""
_HUNG_S: Final = (0.1, 6.0)
_DOWN_S: Final = 0.2
_OUTAGE_S: Final = 0.4
_STARTING_S: Final = 1.0
_REPLACING_S: Final = 2.0
_LIVES_S: Final = 1.5
_POLL_S: Final = 0.01
_AWAY: Final = 0.4
"""The share of kills while Postgres is away."""
_HASTE: Final = 0.2
"""The share of kills behind which nobody waits for the successor."""
_WORKERS_MAX: Final = 3


class _OfWorkers(Fault):
    """A fault of a server that serves."""

    aim = Aim.SOME

    async def inject(self, system: System, random: Random) -> None:
        """Wait until it does, and go on."""
        await system.server.wait_until_listening(LISTEN_TIMEOUT_S)
        await self.befall(system, random)

    @abstractmethod
    async def befall(self, system: System, random: Random) -> None:
        """Begin it, let it last, lift it."""


class WorkerKilled(_OfWorkers):
    """A worker is killed, sometimes while it spools; the others go on."""

    name = "worker-killed"
    weight = 6
    excuses = frozenset({EARLY})

    async def befall(self, system: System, random: Random) -> None:
        """Kill -9 of one."""
        if random.random() < _AWAY:
            system.proxy.refuse()
            await asyncio.sleep(random.uniform(_OUTAGE_S / 4, _OUTAGE_S))
        try:
            await _kill_one(system, random)
            await asyncio.sleep(random.uniform(0, _DOWN_S))
        finally:
            system.proxy.allow()
        if random.random() > _HASTE:
            await system.see_staffed(self.name)


class WorkerKilledStarting(_OfWorkers):
    """A worker is killed, and so is its successor while it starts."""

    name = "worker-killed-while-starting"
    weight = 2
    excuses = frozenset({EARLY})

    async def befall(self, system: System, random: Random) -> None:
        """Kill -9 of both."""
        before = {*system.server.workers}
        await _kill_one(system, random)
        come = await asyncio.to_thread(_await_another, system, before)
        await asyncio.sleep(random.uniform(0, _STARTING_S))
        for pid in come:
            await _kill(system, pid)
        await system.see_staffed(self.name)


class WorkerStopped(_OfWorkers):
    """A worker alone is told to stop, and nobody is to notice."""

    name = "worker-stopped"
    weight = 2

    async def befall(self, system: System, random: Random) -> None:
        """SIGTERM to one; it has to end with exit code 0."""
        if not (pids := system.server.workers):
            return
        pid = random.choice(pids)
        system.server.stop_worker(pid)
        await _see_replaced(system, [pid], self.name)


class WorkerHung(_OfWorkers):
    """A worker does nothing for some seconds, and then goes on."""

    name = "worker-hung"
    weight = 2

    async def befall(self, system: System, random: Random) -> None:
        """SIGSTOP, and SIGCONT before anybody takes it for dead."""
        pids = system.server.workers
        pids = random.choice((pids[:1], pids[-1:]))
        session.send(pids, signal.SIGSTOP)
        try:
            await asyncio.sleep(random.uniform(*_HUNG_S))
        finally:
            session.send(pids, signal.SIGCONT)


class WorkerStuck(_OfWorkers):
    """A worker does nothing any more."""

    name = "worker-stuck"
    weight = 1
    excuses = frozenset({EARLY, UNANSWERED})

    async def befall(self, system: System, random: Random) -> None:
        """SIGSTOP for good: the supervisor has to end it."""
        server = system.server
        await server.wait_until_staffed(STAFFED_S_MAX)  # one that starts is waited for longer
        if not (pids := server.workers):
            return
        pid, since_ns = random.choice(pids), time.monotonic_ns()
        ports = await _still(system, pid)
        server.ended[pid] = "SIGKILL"
        try:
            left = await asyncio.to_thread(session.wait_until_gone, [pid], _STUCK_S_MAX)
        except asyncio.CancelledError:  # the run's time is over
            system.recorder.broke(pid, since_ns, ports)
            server.kill_member(pid)
            raise
        system.recorder.broke(pid, since_ns, ports)
        if left:
            system.recorder.unstaffed(f"a worker did nothing for {_STUCK_S_MAX} s and was left so")
            server.kill_member(pid)
        await system.see_staffed(self.name)


class SupervisorKilled(_OfWorkers):
    """The supervisor alone is killed; its workers have to end, and another server starts."""

    name = "supervisor-killed"
    weight = 4
    excuses = STOPPING

    async def befall(self, system: System, random: Random) -> None:
        """Kill -9 of it, and a start soon behind it, or behind the end of its workers."""
        server = system.server
        is_ready = random.random() > _HASTE and await server.wait_until_staffed(STAFFED_S_MAX)
        await asyncio.to_thread(server.kill_supervisor)
        if is_ready:  # who only starts may have the address for longer
            await asyncio.sleep(random.uniform(0, _DOWN_S))
            server.spawn()
        if left := await asyncio.to_thread(server.outliving, _ORPHANED_S_MAX):
            text = f"{len(left)} workers outlive their supervisor by {_ORPHANED_S_MAX} s"
            system.recorder.unstaffed(text)
            session.send(left, signal.SIGKILL)
        if not is_ready:
            server.spawn()
        await server.wait_until_listening(LISTEN_TIMEOUT_S)


class Hangup(_OfWorkers):
    """All workers are replaced, one after the other, and no request fails."""

    name = "hangup"
    aim = Aim.ONE  # in turn, as operators are told to
    weight = 2
    is_handover = True

    async def befall(self, system: System, random: Random) -> None:
        """SIGHUP, until all who were there are gone."""
        await system.server.wait_until_staffed(STAFFED_S_MAX)
        before = system.server.workers
        async with starvation.noted(system):
            await self.hang_up(system, random)
            await _see_replaced(system, before, self.name)

    async def hang_up(self, system: System, random: Random) -> None:
        """Send it."""
        del random
        system.server.hang_up()


class HangupTwice(Hangup):
    """The configuration is to be read again while the workers are replaced."""

    name = "hangup-twice"
    weight = 1

    async def hang_up(self, system: System, random: Random) -> None:
        """Send it, and soon another one."""
        system.server.hang_up()
        await asyncio.sleep(random.uniform(0, _REPLACING_S))
        system.server.hang_up()


class HangupKilled(_OfWorkers):
    """A worker is killed while all are replaced: an old one, a new one, or one that starts."""

    name = "hangup-and-kill"
    weight = 2
    excuses = frozenset({EARLY})

    async def befall(self, system: System, random: Random) -> None:
        """SIGHUP, and kill -9 in the middle of it."""
        system.server.hang_up()
        await asyncio.sleep(random.uniform(0, _REPLACING_S))
        await _kill_one(system, random)
        await system.see_staffed(self.name)


class WorkersChanged(Fault):
    """The server is started with more workers or fewer, and soon with as many as before."""

    name = "workers-changed"
    aim = Aim.SOME
    weight = 3
    excuses = STOPPING | SERVER_GONE

    async def inject(self, system: System, random: Random) -> None:
        """Stop it, or kill it, in either state; sometimes while it spools."""
        server = system.server
        others = [each for each in range(1, _WORKERS_MAX + 1) if each != server.workers_wanted]
        await _end_all(system, random)
        server.spawn(random.choice(others))
        await server.wait_until_listening(LISTEN_TIMEOUT_S)
        if random.choice((True, False)):
            system.proxy.refuse()
        await asyncio.sleep(random.uniform(0, _LIVES_S))
        try:
            await _end_all(system, random)
        finally:
            system.proxy.allow()
        await start(system, random)


async def _end_all(system: System, random: Random) -> None:
    if random.choice((True, False)):
        await system.terminate_server()
    else:
        await asyncio.to_thread(system.server.kill)


def _await_another(system: System, before: set[int]) -> set[int]:
    """Wait until there is a worker that was not there before; return those."""
    end_s = time.monotonic() + STAFFED_S_MAX
    while not (come := {*system.server.workers} - before) and time.monotonic() < end_s:
        time.sleep(_POLL_S)
    return come


async def _kill_one(system: System, random: Random) -> None:
    if pids := system.server.workers:
        await _kill(system, random.choice(pids))


async def _kill(system: System, pid: int) -> None:
    since_ns = time.monotonic_ns()
    ports = await _still(system, pid)
    system.recorder.broke(pid, since_ns, ports)
    system.server.kill_member(pid)


async def _still(system: System, pid: int) -> list[int]:
    """Have a worker stand still; return the ports of those who are connected to it."""
    session.send([pid], signal.SIGSTOP)
    await asyncio.to_thread(session.wait_until_still, pid)
    return await asyncio.to_thread(session.clients, pid, system.server.port)


async def _see_replaced(system: System, pids: Iterable[int], name: str) -> None:
    """Wait for the end of some workers and for their successors; note it if that takes too long."""
    left = await asyncio.to_thread(session.wait_until_gone, pids, _REPLACED_S_MAX)
    if left:
        system.recorder.unstaffed(f"{name}: {len(left)} workers are there {_REPLACED_S_MAX} s on")
    await system.see_staffed(name)


FAULTS: Final = (
    WorkerKilled(), WorkerKilledStarting(), WorkerStopped(), WorkerHung(), WorkerStuck(),
    SupervisorKilled(), Hangup(), HangupTwice(), HangupKilled(), WorkersChanged(),
)  # fmt: skip
