"""The storm: faults, one after another, while the clients go on."""

import asyncio
import time
from random import Random
from typing import Final

import asyncpg

from bench.audit import link_faults, postgres_faults, server_faults
from bench.audit.clients import Crowd
from bench.audit.faults import Fault, draw
from bench.audit.plan import OnProgress, Outcome, Plan, Progress
from bench.audit.scrape import Scraper
from bench.audit.system import SPOOL_BYTES_MAX, World
from bench.errors import BenchError

FAULTS: Final = (*server_faults.FAULTS, *postgres_faults.FAULTS, *link_faults.FAULTS)
_PAUSE_S: Final = 0.25
_TICK_S: Final = 0.1
_AHEAD: Final = 0.02
_BREATH_BYTES: Final = SPOOL_BYTES_MAX // 8
_BREATH_S_MAX: Final = 30.0


def choose(only: tuple[str, ...]) -> list[Fault]:
    """Return the faults of these names, or all; raise BenchError."""
    known = {fault.name: fault for fault in FAULTS}
    for name in only:
        if name not in known:
            raise BenchError(f"{name} is no fault; one of {', '.join(known)}")
    return [known[name] for name in only] or [fault for fault in FAULTS if fault.weight]


class Storm:
    """Faults, one after another, until there were enough of them and of acknowledgements."""

    def __init__(
        self, plan: Plan, world: World, crowd: Crowd, scraper: Scraper, outcome: Outcome
    ) -> None:
        self._plan = plan
        self._world = world
        self._crowd = crowd
        self._scraper = scraper
        self._outcome = outcome
        self._progress = Progress()
        self._random = Random(plan.seed)  # noqa: S311 - repeatable, not secret

    async def blow(self, on_progress: OnProgress) -> None:
        """Let them happen, and lift everything at the end."""
        begin_s = time.monotonic()
        reporting = asyncio.create_task(self._report(on_progress))
        try:
            async with asyncio.timeout(self._plan.seconds or None):
                await self._inject_all()
        except TimeoutError:
            self._world.oracle.note("the time is over")
        finally:
            reporting.cancel()
        await self._world.lift()
        if self._world.server.pid is None:
            self._world.server.spawn()
        self._crowd.is_ahead = False
        self._outcome.timings_s["faults"] = time.monotonic() - begin_s

    async def _inject_all(self) -> None:
        possible = []
        for fault in choose(self._plan.only):
            if fault.is_possible(self._world):
                possible.append(fault)
            else:
                self._outcome.skipped.append(fault.name)
        order = draw(possible, self._random) if possible else iter(())
        while self._progress.faults < self._plan.faults and possible:
            await self._let_breathe()
            await self._inject(next(order))
            await asyncio.sleep(self._random.uniform(0, _PAUSE_S))
        while (  # noqa: ASYNC110 - polling once in 100 ms costs the oracle nothing
            self._world.oracle.acked < self._plan.events
        ):
            await asyncio.sleep(_TICK_S)

    async def _let_breathe(self) -> None:
        """Wait while the spool holds much: at a fault a second a replay gets nowhere."""
        end_s = time.monotonic() + _BREATH_S_MAX
        while (  # noqa: ASYNC110 - a directory tells nobody
            self._world.spool.used_bytes() > _BREATH_BYTES and time.monotonic() < end_s
        ):
            await asyncio.sleep(_TICK_S)

    async def _inject(self, fault: Fault) -> None:
        oracle, self._progress.current = self._world.oracle, fault.name
        oracle.fault(fault.name, "begun")
        try:
            await fault.inject(self._world, self._random)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            oracle.note(f"{fault.name} failed: {type(error).__name__}: {error}")
            self._outcome.failed[fault.name] += 1
            await self._world.lift()
        else:
            self._outcome.faults[fault.name] += 1
            self._progress.faults += 1
        finally:
            oracle.fault(fault.name, "ended")

    async def _report(self, on_progress: OnProgress) -> None:
        """Tell how far it is, and slow the clients down when they are ahead of the faults."""
        while True:
            progress, plan = self._progress, self._plan
            progress.acked = self._world.oracle.acked
            progress.spool_events = self._scraper.books.spool_events
            faults_share = progress.faults / plan.faults if plan.faults else 1.0
            events_share = progress.acked / plan.events if plan.events else 1.0
            self._crowd.is_ahead = events_share > min(faults_share, 1.0) + _AHEAD
            on_progress(progress)
            await asyncio.sleep(_TICK_S)
