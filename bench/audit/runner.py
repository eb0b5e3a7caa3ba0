"""The run of an audit: start everything, let faults happen, lift them, drain, check."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from random import Random
from typing import Final

from bench import machine, servers
from bench.audit import quiesce, server_log, spool_faults
from bench.audit.archive import ArchiveDisk
from bench.audit.asking import ANSWERS, asking, judge, judge_begun
from bench.audit.checker import Checker
from bench.audit.citus import CitusDatabase
from bench.audit.clients import Client, Traffic
from bench.audit.disk import SmallDisk
from bench.audit.excuses import ASKED
from bench.audit.faults import DOWN, OVERLOADED, SERVER_DOWN
from bench.audit.history import read
from bench.audit.nemesis import FAULTS, Nemesis
from bench.audit.node import Node
from bench.audit.plan import AuditPlan, AuditResult, OnAuditProgress
from bench.audit.postgres import DATABASE, OWNER, Database
from bench.audit.process import ServerProcess
from bench.audit.proxy import Proxy
from bench.audit.recorder import Recorder
from bench.audit.scrape import SPOOL_FULL, Scraper, Scrapes
from bench.audit.spool_disk import SPOOL_BYTES_MAX, SpoolDisk
from bench.audit.system import System
from bench.audit.verdicts import Observed, reach
from bench.audit.workload import APPS, POISON_INDEX, Workload
from bench.errors import BenchError
from ingest.store import api_keys

SETTINGS: Final = {
    "log.level": "warning",
    "log.format": "json",
    "writer.commit_timeout_s": 1.0,  # so that six seconds of a hang see it several times
    "spool.bytes_max": SPOOL_BYTES_MAX,
    "spool.free_bytes_min": 1 << 20,
}
ON_CITUS: Final = {"writer.commit_timeout_s": 2.0}
"""Three Postgres pass on to each other what one does otherwise, all on one machine."""
_WARM_UP_ACKED: Final = 200
_WARM_UP_TIMEOUT_S: Final = 30.0
_TABLESPACE_BYTES: Final = 4 << 20
_TICK_S: Final = 0.1
_FURTHER_APPS: Final = [f"audit-{number}" for number in range(1, APPS)]


async def run(plan: AuditPlan, directory: Path, on_progress: OnAuditProgress) -> AuditResult:
    """Audit, with everything below `directory`; raise BenchError."""
    result = AuditResult(plan)
    begin_s = time.monotonic()
    async with _system(plan, directory) as system:
        keys = await _prepare(system, result)
        asked = asking(system, directory, plan.bug) if system.archive else nullcontext()
        observed = result.observed = Observed(Scrapes(), servers=plan.servers)
        scrapers = [Scraper(node, system.recorder, observed.scrapes) for node in system.nodes]
        workload = Workload(f"{plan.seed:x}", plan.seed)
        ports = [node.server.port for node in system.nodes]
        traffic = Traffic(ports, keys, workload, system.recorder)
        result.timings_s["start"] = time.monotonic() - begin_s
        async with _alive(system, scrapers), asked as asker:
            await _drive(system, traffic, scrapers, result, observed, on_progress)
            if asker is not None:
                observed.archive = await judge(system, asker)
        answers = directory / ANSWERS if system.archive else None
        await _check(system, result, observed, answers)
    result.timings_s["all"] = time.monotonic() - begin_s
    return result


async def _prepare(system: System, result: AuditResult) -> list[str]:
    """Bring the database to where a server can use it, start all; return each app's API key."""
    keys = [await asyncio.to_thread(servers.make_key, system.database.owner_url)]
    await system.database.execute(POISON_INDEX)
    await system.database.spread()
    async with system.database.session() as connection:
        keys += [await api_keys.create(connection, name, "audit", None) for name in _FURTHER_APPS]
    result.postgres = await system.database.version()
    await asyncio.gather(*(each.start_server() for each in system.all_aimed))
    return keys


async def _drive(
    system: System,
    traffic: Traffic,
    scrapers: Sequence[Scraper],
    result: AuditResult,
    observed: Observed,
    on_progress: OnAuditProgress,
) -> None:
    """Let clients and faults loose; note what was seen once everything has settled."""
    plan = result.plan
    clients = [
        asyncio.create_task(Client(traffic, number, Random(f"{plan.seed}/{number}")).run())  # noqa: S311
        for number in range(plan.connections)
    ]
    await _warm_up(system)
    await Nemesis(plan, system, traffic, observed.scrapes, result).run(on_progress)
    last_fault_s = time.monotonic()
    observed.fresh_s = await quiesce.fresh(system, traffic)
    traffic.is_stopping = True
    await asyncio.gather(*clients)
    timeout_s = plan.drain_timeout_s
    await quiesce.drain(system, scrapers, observed, begin_s=last_fault_s, timeout_s=timeout_s)
    observed.ends = [*system.bad_exits]
    for node in system.nodes:
        observed.ends += node.server.unexpected_ends
        observed.ends += await asyncio.to_thread(server_log.odd_ends, node.server)
        result.starts += node.server.starts


async def _warm_up(system: System) -> None:
    end_s = time.monotonic() + _WARM_UP_TIMEOUT_S
    while system.recorder.acked < _WARM_UP_ACKED:
        if time.monotonic() > end_s:
            logs = "\n".join(node.server.log() for node in system.nodes)
            raise BenchError(f"nothing is acknowledged:\n{logs}")
        await asyncio.sleep(_TICK_S)


async def _check(
    system: System, result: AuditResult, observed: Observed, answers: Path | None
) -> None:
    """Compare; without what is stored while the spool is not empty."""
    begin_s = time.monotonic()
    history = await asyncio.to_thread(read, system.recorder.path)
    excuses = {
        fault.name: fault.excuses | ({ASKED} if fault.moves_rows else set()) for fault in FAULTS
    }
    excuses |= {SPOOL_FULL: OVERLOADED, DOWN: SERVER_DOWN}
    handovers = {fault.name for fault in FAULTS if fault.is_handover}
    checker = await asyncio.to_thread(Checker, history, excuses, handovers, answers)
    if observed.is_drained:
        await system.database.settle()
        await quiesce.read_rows(system, checker)
    told = [
        await asyncio.to_thread(spool_faults.told_events, node.server.log_path, node.spool)
        for node in system.nodes
    ]
    checker.judge_loss(sum(told))
    if checker.questions is not None and observed.archive is not None:
        spoilers = {fault.name for fault in FAULTS if fault.spoils_archive}
        spoilt = sum(window.fault in spoilers for window in history.windows)
        observed.archive += judge_begun(system, spoilt)
        result.questions = checker.questions.answered
        result.unanswered = Counter(why.partition(":")[0] for why in checker.questions.failed)
    result.counts, result.sent = checker.counts, len(history.records)
    result.verdicts = reach(checker.findings, observed)
    result.timings_s["judging"] = time.monotonic() - begin_s


@asynccontextmanager
async def _alive(system: System, scrapers: Sequence[Scraper]) -> AsyncIterator[None]:
    """Keep the servers running and scraped; raise what any task raised."""
    watches = [node.server.watch() for node in system.nodes] + [each.watch() for each in scrapers]
    tasks = [asyncio.create_task(watch) for watch in watches]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _make_database(plan: AuditPlan, directory: Path, cores: frozenset[int]) -> Database:
    return (
        CitusDatabase(plan.citus_url)
        if plan.citus_url
        else Database(directory, cores, plan.servers)
    )


@asynccontextmanager
async def _system(plan: AuditPlan, directory: Path) -> AsyncIterator[System]:
    cores = machine.split_cores()
    database = await asyncio.to_thread(_make_database, plan, directory / "cluster", cores.others)
    tablespace = SmallDisk(directory / "tablespace", _TABLESPACE_BYTES)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, database.destroy)
        await asyncio.to_thread(database.create)
        tablespace.mount()
        stack.callback(tablespace.unmount)
        await asyncio.to_thread(database.add_tablespace, tablespace)
        archive = ArchiveDisk(directory / "archive", plan.servers) if plan.has_archive else None
        if archive is not None:
            archive.mount()
            stack.callback(archive.unmount)
        recorder = await stack.enter_async_context(Recorder(directory / "history").keeping())
        system = System(database, [], tablespace, recorder, archive)
        for number in range(plan.servers):
            place = directory / f"server-{number}"
            system.nodes.append(await _node(plan, number, place, system, stack))
        yield system


async def _node(
    plan: AuditPlan, number: int, directory: Path, system: System, stack: AsyncExitStack
) -> Node:
    """Make one server, which is not started, and what is its own."""
    await asyncio.to_thread(directory.mkdir, 0o711)
    proxy = Proxy(system.database.socket_path)
    await proxy.open()
    stack.push_async_callback(proxy.close)
    spool = SpoolDisk(directory / "spool")
    spool.mount()
    stack.callback(spool.unmount)
    url = f"postgresql://{OWNER}@127.0.0.1:{proxy.port}/{DATABASE}?sslmode=disable"
    settings = SETTINGS | {"database.url": url, "spool.path": spool.directory}
    settings |= ON_CITUS if plan.citus_url else {}
    if system.archive is not None:
        settings |= system.archive.settings(number)
    cores = machine.split_cores()
    server = ServerProcess(directory, settings, cores.server, plan.bug, plan.workers)
    stack.callback(server.kill)
    fault = system.recorder.fault
    server.on_up = lambda is_up: fault(DOWN, "ended" if is_up else "begun", number)
    return Node(number, server, proxy, spool)
