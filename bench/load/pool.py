"""Runs a load: starts the client's processes, all at one time, and watches what they cost."""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple, Self

from bench import cores, machine
from bench.errors import BenchError
from bench.load import http
from bench.load.forms import SINGLE, Form
from bench.load.payloads import Payload
from bench.load.plan import Plan, Progress, Stats
from bench.load.worker import work
from bench.machine import Usage
from bench.servers import Endpoint

_START_DELAY_S = 0.05
_GRACE_S = 60.0
_POLL_S = 0.5
_SLICE_S = 0.25
_SLICES_MAX = 400

OnProgress = Callable[[float, int], None]
"""Called with the seconds since the start and the answers so far."""


@dataclass(frozen=True)
class Job:
    """A load run: what to send, where, and how."""

    endpoint: Endpoint
    key: str
    payloads: list[Payload]
    connections: int = 64
    rate: float = 0.0
    """Requests a second, or 0 for a closed loop."""
    warm_up_s: float = 1.0
    seconds: float = 10.0
    drain_s: float = 10.0
    """How long to wait for answers after the last request was due."""
    processes: int = 1
    cores: frozenset[int] = frozenset()
    postgres_pid: int | None = None
    workers: int | None = None
    """Of the server, to be noted beside its figures; None if it is not known."""
    acknowledged: Path | None = None
    """A directory, where each process keeps what was acknowledged in one of its own."""
    form: Form = SINGLE
    """Of each request; a payload is sent as often as it has events."""
    further_keys: tuple[str, ...] = ()
    """Of other apps, which send in turn with `key`."""

    @property
    def slice_s(self) -> float:
        """Return how long each point of the latency over time is."""
        return max(_SLICE_S, self.seconds / _SLICES_MAX)

    @property
    def total_s(self) -> float:
        """Return how long it sends."""
        return self.warm_up_s + self.seconds


@dataclass(frozen=True)
class Cost:
    """What a process used while the load was measured."""

    cpu_s: float
    rss_bytes: int
    """Resident at the end. Postgres's shared buffers count in each of its processes."""
    rss_growth_bytes: int
    """How much of it was not there when the warm-up ended."""

    def cpu_s_per_100k(self, answers: int) -> float:
        """Return CPU-seconds for each 100,000 answers."""
        return self.cpu_s / answers * 100_000 if answers else 0.0


@dataclass
class Run:
    """A finished load run."""

    job: Job
    stats: Stats
    server: Cost | None
    """Of all its processes together."""
    postgres: Cost | None
    supervisor: Cost | None = None
    """The server's first process by itself, which takes no events if there are workers."""
    watched_s: float = 0.0
    """How long the server's costs were watched: the window, unless this process was held up."""
    core_busy: float = 0.0
    """Which share of the time the client's core, the busiest of them, was busy; 0 if it has none
    of its own."""


class _Usages(NamedTuple):
    """What was used so far."""

    at_s: float
    """When the server was looked at."""
    server: Usage | None
    postgres: Usage | None
    supervisor: Usage | None


def run(job: Job, on_progress: OnProgress) -> Run:
    """Run a load; raise BenchError if the server can't be reached or doesn't speak HTTP."""
    if job.connections < job.processes:
        raise BenchError("each process needs a connection: fewer --processes")
    with _Pool(job) as pool:
        return pool.run(on_progress)


def _plans(job: Job) -> list[Plan]:
    """Divide a job among its processes."""
    endpoint = job.endpoint
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    address, form = f"{host}:{endpoint.port}", job.form
    requests = [
        http.request(address, key, form.document(each.body), form.path, form.headers)
        for key in (job.key, *job.further_keys)
        for each in job.payloads
    ]
    whole = Plan(
        host=endpoint.host,
        port=endpoint.port,
        requests=requests,
        connections=0,
        rate=job.rate / job.processes,
        warm_up_s=job.warm_up_s,
        seconds=job.seconds,
        slice_s=job.slice_s,
        drain_s=job.drain_s,
        cores=job.cores,
        form=form,
    )
    few, more = divmod(job.connections, job.processes)
    return [
        replace(
            whole,
            connections=few + (number < more),
            delay_s=number / job.rate if job.rate else 0.0,
            acknowledged=_own_directory(job, number),
        )
        for number in range(job.processes)
    ]


def _own_directory(job: Job, number: int) -> Path | None:
    if job.acknowledged is None:
        return None
    directory = job.acknowledged / str(number)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@dataclass
class _Pool:
    """The processes of one run."""

    job: Job
    pipes: dict[Pipe, int] = field(default_factory=dict)
    """Of the processes that still run: how many answers each has had."""
    processes: list[Any] = field(default_factory=list)
    stats: Stats = field(default_factory=Stats)

    def __enter__(self) -> Self:
        # Forked from a process that has loaded the client and nothing else: clean, and fast.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([work.__module__])
        for plan in _plans(self.job):
            pipe, theirs = context.Pipe()
            process = context.Process(target=work, args=(plan, theirs), daemon=True)
            process.start()
            theirs.close()
            self.pipes[pipe] = 0
            self.processes.append(process)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.join(1)
            if process.is_alive():
                process.kill()
                process.join()

    def run(self, on_progress: OnProgress) -> Run:
        """Start all processes at one time and add up what they measured."""
        self._wait_until_connected()
        start_s = time.perf_counter() + _START_DELAY_S
        for pipe in self.pipes:
            pipe.send(start_s)
        begin_s = start_s + self.job.warm_up_s
        self._listen(begin_s, start_s, on_progress)
        before = self._usages()
        ticks = cores.sample(self.job.cores)
        self._listen(begin_s + self.job.seconds, start_s, on_progress)
        core_busy = cores.busiest(ticks, cores.sample(self.job.cores))
        after = self._usages()
        end_s = begin_s + self.job.seconds + self.job.drain_s + _GRACE_S
        self._listen(end_s, start_s, on_progress)
        if self.pipes:
            raise BenchError("the load client did not end")
        if self.stats.failure:
            raise BenchError(self.stats.failure)
        return Run(
            self.job,
            self.stats,
            server=_cost(before.server, after.server),
            postgres=_cost(before.postgres, after.postgres),
            supervisor=_cost(before.supervisor, after.supervisor),
            watched_s=after.at_s - before.at_s,
            core_busy=core_busy,
        )

    def _wait_until_connected(self) -> None:
        for pipe in self.pipes:
            if not pipe.poll(_GRACE_S):
                raise BenchError("the load client did not connect")
            if isinstance(message := _receive(pipe), Stats):
                raise BenchError(message.failure)

    def _listen(self, end_s: float, start_s: float, on_progress: OnProgress) -> None:
        """Follow the processes until a time, or until all have ended."""
        while self.pipes and (left_s := end_s - time.perf_counter()) > 0:
            for pipe in wait(list(self.pipes), min(left_s, _POLL_S)):
                self._take(pipe)  # type: ignore[arg-type] # only pipes are waited for
            elapsed_s = time.perf_counter() - start_s
            on_progress(min(elapsed_s, self.job.total_s), sum(self.pipes.values()))

    def _take(self, pipe: Pipe) -> None:
        match _receive(pipe):
            case Progress(answers):
                self.pipes[pipe] = answers
            case Stats() as stats:
                self.stats.add(stats)
                del self.pipes[pipe]

    def _usages(self) -> _Usages:
        server, postgres = self.job.endpoint.pid, self.job.postgres_pid
        return _Usages(
            time.perf_counter(),
            machine.usage(server),
            machine.usage(postgres),
            machine.usage_alone(server),
        )


def _receive(pipe: Pipe) -> Progress | Stats:
    try:
        message: Progress | Stats = pipe.recv()
    except EOFError:
        return Stats(failure="a process of the load client died; see above")
    return message


def _cost(before: Usage | None, after: Usage | None) -> Cost | None:
    if before is None or after is None:
        return None
    return Cost(after.cpu_s - before.cpu_s, after.rss_bytes, after.rss_bytes - before.rss_bytes)
