"""The nemesis: faults, one after another, while the clients go on."""

import asyncio
import subprocess
import time
from functools import partial
from random import Random
from typing import Final

import asyncpg

from bench.audit import (
    archive_faults,
    citus_faults,
    key_faults,
    link_faults,
    operator_faults,
    postgres_faults,
    server_faults,
    spool_faults,
    waiting,
    worker_faults,
)
from bench.audit.clients import Traffic
from bench.audit.faults import Aim, Fault, draw
from bench.audit.history import EVERY
from bench.audit.plan import AuditPlan, AuditProgress, AuditResult, OnAuditProgress
from bench.audit.scrape import Scrapes
from bench.audit.spool_disk import SPOOL_BYTES_MAX, SpoolDisk
from bench.audit.system import LISTEN_TIMEOUT_S, System
from bench.errors import BenchError

FAULTS: Final = (
    *server_faults.FAULTS,
    *postgres_faults.FAULTS,
    *link_faults.FAULTS,
    *spool_faults.FAULTS,
    *operator_faults.FAULTS,
    *worker_faults.FAULTS,
    *archive_faults.FAULTS,
    *citus_faults.FAULTS,
    *key_faults.FAULTS,
)
_PAUSE_S: Final = 0.15
_TICK_S: Final = 0.1
_AHEAD: Final = 0.005
_BREATH_BYTES: Final = SPOOL_BYTES_MAX // 8
_BREATH_S_MAX: Final = 30.0
_ALL_AT_ONCE: Final = 0.2
"""The share of faults that befall all servers, of those that may."""


def choose(only: tuple[str, ...]) -> list[Fault]:
    """Return the faults of these names, or all; raise BenchError."""
    known = {fault.name: fault for fault in FAULTS}
    for name in only:
        if name not in known:
            raise BenchError(f"{name} is no fault; one of {', '.join(known)}")
    return [known[name] for name in only] or [fault for fault in FAULTS if fault.weight]


class Nemesis:
    """Faults, one after another, until there were enough of them and of acknowledgements."""

    def __init__(
        self,
        plan: AuditPlan,
        system: System,
        traffic: Traffic,
        scrapes: Scrapes,
        result: AuditResult,
    ) -> None:
        self._plan = plan
        self._system = system
        self._traffic = traffic
        self._scrapes = scrapes
        self._result = result
        self._progress = AuditProgress()
        self._random = Random(plan.seed)  # noqa: S311 - repeatable, not secret

    async def run(self, on_progress: OnAuditProgress) -> None:
        """Let them happen, and lift everything at the end."""
        begin_s = time.monotonic()
        reporting = asyncio.create_task(self._report(on_progress))
        try:
            async with asyncio.timeout(self._plan.seconds or None):
                await self._inject_all()
        except TimeoutError:
            self._system.recorder.note("the time is over")
        finally:
            reporting.cancel()
        await self._system.lift()
        for system in self._system.all_aimed:
            if system.server.pid is None:
                system.server.spawn()
            await system.server.wait_until_listening(LISTEN_TIMEOUT_S)
            await system.see_staffed("the last fault")
        self._traffic.is_ahead = False
        self._result.timings_s["faults"] = time.monotonic() - begin_s

    async def _inject_all(self) -> None:
        possible = []
        impossible = self._system.database.impossible
        for fault in choose(self._plan.only):
            if fault.name not in impossible and fault.is_possible(self._system):
                possible.append(fault)
            else:
                self._result.skipped.append(fault.name)
        order = draw(possible, self._random) if possible else iter(())
        while self._progress.faults < self._plan.faults and possible:
            await self._let_breathe()
            await self._inject(next(order))
            await asyncio.sleep(self._random.uniform(0, _PAUSE_S))
        while (  # noqa: ASYNC110 - polling once in 100 ms costs the recorder nothing
            self._system.recorder.acked < self._plan.events
        ):
            await asyncio.sleep(_TICK_S)

    async def _let_breathe(self) -> None:
        """Wait while the spool holds much: at a fault a second a replay gets nowhere."""
        for node in self._system.nodes:
            has_room = partial(_has_room, node.spool)
            await waiting.until(has_room, _BREATH_S_MAX, _TICK_S)

    async def _inject(self, fault: Fault) -> None:
        recorder, self._progress.current = self._system.recorder, fault.name
        aimed = self._aim(fault)
        is_shared = fault.aim is Aim.POSTGRES
        befallen = [EVERY] if is_shared else [system.aim for system in aimed]
        for server in befallen:
            recorder.fault(fault.name, "begun", server)
        try:
            await self._inject_at(fault, aimed)
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            OSError,
            subprocess.SubprocessError,
        ) as error:
            recorder.note(f"{fault.name} failed: {type(error).__name__}: {error}")
            self._result.failed[fault.name] += 1
            await self._system.lift()
        else:
            self._result.faults[fault.name] += 1
            self._progress.faults += 1
        finally:
            for server in befallen:
                recorder.fault(fault.name, "ended", server)

    def _aim(self, fault: Fault) -> list[System]:
        """Return the system, aimed at whom the fault befalls."""
        aimed = self._system.all_aimed
        if len(aimed) == 1:
            return aimed
        if fault.aim is Aim.SOME and self._random.random() < _ALL_AT_ONCE:
            return aimed
        return [self._random.choice(aimed)]

    async def _inject_at(self, fault: Fault, aimed: list[System]) -> None:
        """Let it happen to all of these at once; raise what the first of them raised."""
        if len(aimed) == 1:
            await fault.inject(aimed[0], self._random)
            return
        apart = [Random(self._random.random()) for _ in aimed]  # noqa: S311 - repeatable
        work = [fault.inject(*each) for each in zip(aimed, apart, strict=True)]
        for raised in await asyncio.gather(*work, return_exceptions=True):
            if raised is not None:
                raise raised

    async def _report(self, on_progress: OnAuditProgress) -> None:
        """Tell how far it is, and slow the clients down when they are ahead of the faults."""
        while True:
            progress, plan = self._progress, self._plan
            progress.acked = self._system.recorder.acked
            progress.spool_events = self._scrapes.spool_events
            faults_share = progress.faults / plan.faults if plan.faults else 1.0
            events_share = progress.acked / plan.events if plan.events else 1.0
            self._traffic.is_ahead = events_share > min(faults_share, 1.0) + _AHEAD
            on_progress(progress)
            await asyncio.sleep(_TICK_S)


def _has_room(spool: SpoolDisk) -> bool:
    return spool.used_bytes() <= _BREATH_BYTES
