"""The nemesis: faults, one after another, while the clients go on."""

import asyncio
import subprocess
import time
from random import Random
from typing import Final

import asyncpg

from bench.audit import (
    archive_faults,
    link_faults,
    operator_faults,
    postgres_faults,
    server_faults,
    spool_faults,
    waiting,
    worker_faults,
)
from bench.audit.clients import Traffic
from bench.audit.faults import Fault, draw
from bench.audit.plan import AuditPlan, AuditProgress, AuditResult, OnAuditProgress
from bench.audit.scrape import Scraper
from bench.audit.spool_disk import SPOOL_BYTES_MAX
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
)
_PAUSE_S: Final = 0.15
_TICK_S: Final = 0.1
_AHEAD: Final = 0.005
_BREATH_BYTES: Final = SPOOL_BYTES_MAX // 8
_BREATH_S_MAX: Final = 30.0


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
        scraper: Scraper,
        result: AuditResult,
    ) -> None:
        self._plan = plan
        self._system = system
        self._traffic = traffic
        self._scraper = scraper
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
        if self._system.server.pid is None:
            self._system.server.spawn()
        await self._system.server.wait_until_listening(LISTEN_TIMEOUT_S)
        await self._system.see_staffed("the last fault")
        self._traffic.is_ahead = False
        self._result.timings_s["faults"] = time.monotonic() - begin_s

    async def _inject_all(self) -> None:
        possible = []
        for fault in choose(self._plan.only):
            if fault.is_possible(self._system):
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
        spool = self._system.spool
        await waiting.until(lambda: spool.used_bytes() <= _BREATH_BYTES, _BREATH_S_MAX, _TICK_S)

    async def _inject(self, fault: Fault) -> None:
        recorder, self._progress.current = self._system.recorder, fault.name
        recorder.fault(fault.name, "begun")
        try:
            await fault.inject(self._system, self._random)
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
            recorder.fault(fault.name, "ended")

    async def _report(self, on_progress: OnAuditProgress) -> None:
        """Tell how far it is, and slow the clients down when they are ahead of the faults."""
        while True:
            progress, plan = self._progress, self._plan
            progress.acked = self._system.recorder.acked
            progress.spool_events = self._scraper.found.spool_events
            faults_share = progress.faults / plan.faults if plan.faults else 1.0
            events_share = progress.acked / plan.events if plan.events else 1.0
            self._traffic.is_ahead = events_share > min(faults_share, 1.0) + _AHEAD
            on_progress(progress)
            await asyncio.sleep(_TICK_S)
