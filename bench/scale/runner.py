"""The runs of `scale`: round after round, a server with each number of workers in turn.

Each run has a clean table and a new server, whose start is over before its workers are throttled
and anything is measured. The client keeps every acknowledged id, which is compared with the table.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench import machine, metrics, servers
from bench.console import Update
from bench.load import database, payloads, pool, verify
from bench.load.pool import Cost, Job, Run
from bench.scale.result import Connections, ScaleRun
from bench.scale.share import Share
from bench.scale.throttle import Throttle
from bench.servers import Endpoint

_SETTLE_S: Final = 1.0
"""So long a new worker tidies up behind its start: under the throttle it would take twenty times
as long."""
_COUNTED_S: Final = 0.3
"""Within so long each worker tells what it has counted."""


@dataclass(frozen=True)
class Bench:
    """What all runs share: a Postgres, the job without its server, and the throttle."""

    database_url: str
    job: Job
    connections: Connections
    server_cores: frozenset[int]
    throttle: Throttle
    share: Share
    """Of each worker."""


@contextmanager
def set_up(job: Job, connections: Connections, throttle: Throttle, share: Share) -> Iterator[Bench]:
    """Run a Postgres for all runs; the job's endpoint, key and cores are filled in."""
    cores = machine.split_cores()
    with servers.temporary_postgres(cores.others) as database_url:
        made = replace(
            job,
            key=servers.make_key(database_url),
            cores=cores.others,
            postgres_pid=database.find_postmaster(database_url),
        )
        yield Bench(database_url, made, connections, cores.server, throttle, share)


def blank_job(warm_up_s: float, seconds: float, processes: int) -> Job:
    """Return a closed loop of single events, to whichever server, on however many connections."""
    return Job(
        Endpoint("", 0),
        "",
        [payloads.example()],
        warm_up_s=warm_up_s,
        seconds=seconds,
        processes=processes,
    )


def plan(counts: Sequence[int], rounds: int) -> list[int]:
    """Return the number of workers of each run: every other round goes backwards."""
    return [
        each for number in range(rounds) for each in (counts if number % 2 == 0 else counts[::-1])
    ]


def measure(bench: Bench, planned: Sequence[int], update: Update) -> list[ScaleRun]:
    """Run one after the other and move the bar along."""
    found = []
    for workers in planned:
        update(description=f"{workers} workers")
        found.append(run_once(bench, workers))
        update(advance=1)
    return found


def run_once(bench: Bench, workers: int) -> ScaleRun:
    """Start a server, throttle its workers, load it, and compare with Postgres."""
    database.clear(bench.database_url)
    settings = {servers.WORKERS: workers}
    with (
        servers.ours(bench.database_url, bench.server_cores, settings) as endpoint,
        tempfile.TemporaryDirectory(prefix="nonito-bench-acks-") as directory,
    ):
        time.sleep(_SETTLE_S)
        job = replace(
            bench.job,
            endpoint=endpoint,
            workers=workers,
            connections=bench.connections.of(workers),
            acknowledged=Path(directory),
        )
        return _Trial(bench, job, servers.workers(endpoint)).run()


class _Trial:
    """One server under load."""

    def __init__(self, bench: Bench, job: Job, pids: list[int]) -> None:
        self._bench = bench
        self._job = job
        self._pids = pids
        self._connections: list[int] = []

    def run(self) -> ScaleRun:
        """Load it, and return what was found."""
        bench = self._bench
        copies, events = self._batches()
        with bench.throttle.held(self._pids, bench.share):
            run = pool.run(self._job, self._on_progress)
        time.sleep(_COUNTED_S)
        copies_after, events_after = self._batches()
        return self._result(run, (events_after - events) / max(copies_after - copies, 1.0))

    def _on_progress(self, elapsed_s: float, answers: int) -> None:
        """Count connections until all are seen; from outside, which costs no worker a thing."""
        del elapsed_s, answers
        if sum(self._connections) < self._job.connections:
            port = self._job.endpoint.port
            seen = [machine.established(each, port) for each in self._pids]
            self._connections = max(self._connections, seen, key=sum)

    def _batches(self) -> tuple[float, float]:
        """Return how many COPYs the server has committed so far, and events in them."""
        samples = metrics.scrape(self._job.endpoint.host, self._job.endpoint.port)
        return samples["batch_events_count"], samples["batch_events_sum"]

    def _result(self, run: Run, batch_events: float) -> ScaleRun:
        stats, bench, count = run.stats, self._bench, len(self._pids)
        supervisor, workers = _parts(run)
        events = round(stats.events_per_s * run.watched_s)
        return ScaleRun(
            workers=self._job.workers or 0,
            events_per_s=stats.events_per_s,
            server_cpu_s_per_100k=workers.cpu_s_per_100k(events),
            supervisor_cpu_s_per_100k=supervisor.cpu_s_per_100k(events),
            postgres_cpu_s_per_100k=(run.postgres or _NONE).cpu_s_per_100k(events),
            batch_events=batch_events,
            connections=self._connections,
            latency_ms=stats.latencies.latency_ms(),
            share_used=workers.cpu_s / (run.watched_s * count * bench.share.of_core),
            core_busy=run.core_busy,
            client_cpu_us_per_request=stats.client_us,
            void=self._faults(run),
        )

    def _faults(self, run: Run) -> list[str]:
        url, stats = self._bench.database_url, run.stats
        found = [f"{name}: {n}" for name, n in verify.verify(url, run).faults.items()]
        stored = database.count(url)
        if stored != stats.successes:
            found.append(f"{stats.successes} acknowledged, {stored} rows")
        if servers.workers(self._job.endpoint) != self._pids:
            found.append("a worker has ended")
        if sum(self._connections) != self._job.connections:
            found.append(f"{sum(self._connections)} connections seen")
        return [*found, *stats.faults]


_NONE: Final = Cost(0.0, 0, 0)


def _parts(run: Run) -> tuple[Cost, Cost]:
    """Return what the supervisor used, and what the workers did."""
    whole, first = run.server or _NONE, run.supervisor or _NONE
    return first, Cost(
        whole.cpu_s - first.cpu_s,
        whole.rss_bytes - first.rss_bytes,
        whole.rss_growth_bytes - first.rss_growth_bytes,
    )
