"""The course of an audit: start everything, let faults happen, lift them, drain, judge."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

from bench import machine, servers
from bench.audit import quiesce
from bench.audit.checker import judge
from bench.audit.clients import Client, Crowd
from bench.audit.faults import OVERLOADED
from bench.audit.history import read
from bench.audit.nemesis import FAULTS, Storm
from bench.audit.plan import OnProgress, Outcome, Plan
from bench.audit.postgres import DATABASE, Database
from bench.audit.process import ServerProcess
from bench.audit.proxy import Proxy
from bench.audit.recorder import Oracle
from bench.audit.scrape import SPOOL_FULL, Scraper
from bench.audit.system import SPOOL_BYTES_MAX, SpoolDisk, World
from bench.audit.verdicts import Observed, reach
from bench.audit.workload import POISON_INDEX, Maker
from bench.errors import BenchError

SETTINGS: Final = {
    "log.level": "warning",
    "log.format": "json",
    "writer.commit_timeout_s": 1.0,  # so that six seconds of a hang see it several times
    "spool.bytes_max": SPOOL_BYTES_MAX,
    "spool.free_bytes_min": 1 << 20,
}
_WARM_UP_ACKED: Final = 200
_WARM_UP_TIMEOUT_S: Final = 30.0
_TICK_S: Final = 0.1


async def run(plan: Plan, directory: Path, on_progress: OnProgress) -> Outcome:
    """Audit, with everything below `directory`; raise BenchError."""
    outcome = Outcome(plan)
    begin_s = time.monotonic()
    async with _world(plan, directory) as world:
        key = await _prepare(world, outcome)
        scraper = Scraper(world)
        crowd = Crowd(world.server.port, key, Maker(f"{plan.seed:x}", plan.seed), world.oracle)
        outcome.timings_s["start"] = time.monotonic() - begin_s
        async with _alive(world, scraper):
            observed = await _drive(plan, world, crowd, scraper, outcome, on_progress)
        await _judge(world, outcome, observed)
    outcome.timings_s["all"] = time.monotonic() - begin_s
    return outcome


async def _prepare(world: World, outcome: Outcome) -> str:
    """Bring the database to where the server can use it, start the server; return an API key."""
    key = await asyncio.to_thread(servers.make_key, world.database.url)
    await world.database.execute(POISON_INDEX)
    async with world.database.session() as connection:
        outcome.postgres = await connection.fetchval("SHOW server_version")
    await world.start_server()
    return key


async def _drive(
    plan: Plan,
    world: World,
    crowd: Crowd,
    scraper: Scraper,
    outcome: Outcome,
    on_progress: OnProgress,
) -> Observed:
    """Let clients and faults loose; return what was seen once everything has settled."""
    clients = [
        asyncio.create_task(Client(crowd, number, Random(f"{plan.seed}/{number}")).run())  # noqa: S311
        for number in range(plan.connections)
    ]
    await _warm_up(world)
    await Storm(plan, world, crowd, scraper, outcome).blow(on_progress)
    observed = outcome.observed = Observed(scraper.books)
    observed.fresh_s = await quiesce.fresh(world, crowd)
    crowd.is_stopping = True
    await asyncio.gather(*clients)
    await quiesce.drain(world, scraper, observed, plan.drain_timeout_s)
    observed.ends = [*world.server.unexpected_ends, *world.bad_exits]
    outcome.starts = world.server.starts
    return observed


async def _warm_up(world: World) -> None:
    end_s = time.monotonic() + _WARM_UP_TIMEOUT_S
    while world.oracle.acked < _WARM_UP_ACKED:
        if time.monotonic() > end_s:
            raise BenchError(f"nothing is acknowledged:\n{world.server.log()}")
        await asyncio.sleep(_TICK_S)


async def _judge(world: World, outcome: Outcome, observed: Observed) -> None:
    """Compare; without what is stored while the spool is not empty."""
    begin_s = time.monotonic()
    story = await asyncio.to_thread(read, world.oracle.path)
    excuses = {fault.name: fault.excuses for fault in FAULTS} | {SPOOL_FULL: OVERLOADED}
    stored = await quiesce.stored(world) if observed.is_drained else None
    findings, outcome.tallies = await asyncio.to_thread(judge, story, stored, excuses)
    outcome.sent = len(story.records)
    outcome.verdicts = reach(findings, observed)
    outcome.timings_s["judging"] = time.monotonic() - begin_s


@asynccontextmanager
async def _alive(world: World, scraper: Scraper) -> AsyncIterator[None]:
    """Keep the server running and scraped; raise what either task raised."""
    tasks = [asyncio.create_task(work) for work in (world.server.watch(), scraper.watch())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def _world(plan: Plan, directory: Path) -> AsyncIterator[World]:
    cores = machine.split_cores()
    database = Database(directory / "cluster", cores.others)
    proxy = Proxy(database.socket_path)
    spool = SpoolDisk(directory / "spool")
    async with AsyncExitStack() as stack:
        stack.callback(database.destroy)
        await asyncio.to_thread(database.create)
        await proxy.open()
        stack.push_async_callback(proxy.close)
        spool.mount()
        stack.callback(spool.unmount)
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{DATABASE}?sslmode=disable"
        settings = SETTINGS | {"database.url": url, "spool.path": spool.directory}
        server = ServerProcess(directory, settings, cores.server, plan.bug)
        stack.callback(server.kill)
        oracle = await stack.enter_async_context(Oracle(directory / "history").keeping())
        yield World(database, proxy, server, spool, oracle)
