"""One run of one entry: start it on a clean table, load it, audit it, and stop it."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from bench import crew, database, machine, payloads, servers, verify, volley
from bench.crew import Job, Run
from bench.errors import BenchError
from bench.forms import SINGLE, Form
from bench.machine import Cores
from bench.peers.copy import Copied
from bench.report import client_us, latency_ms
from bench.sender import OWN, WRK
from bench.servers import Target
from bench.volley import Rules, Volley

_COPY_GRACE_S = 60.0
_OK = 200


@dataclass(frozen=True)
class Arena:
    """What all runs share."""

    database_url: str
    key: str
    cores: Cores
    postgres_pid: int | None
    seconds: float
    warm_up_s: float
    sender: str = OWN
    """Of single POSTs; batches are always sent by our own client."""


class Result(msgspec.Struct, frozen=True):
    """What one run found."""

    events_per_s: float
    server_cpu_s_per_100k: float
    """For the COPY alone: the client's, which stands in the server's place."""
    postgres_cpu_s_per_100k: float
    latency_ms: dict[str, float]
    """p50, p90, p99, p99.9, max of a request; empty for the COPY alone."""
    server_rss_bytes: int
    client_cpu_us_per_request: float
    void: list[str]
    """Why the run doesn't count; empty for a good one."""
    sender: str = ""
    """Empty for the COPY alone, which nobody sends."""
    sending_core_busy: float = 0.0
    """Which share of the time the core was busy that the sender ran on, and Postgres too."""
    client_core_share: float = 0.0
    """Which share of a core the sender itself took."""


class Contest(Protocol):
    """Runs one entry once."""

    def __call__(self, arena: Arena, connections: int) -> Result:
        """Return what was found."""


Start = Callable[[Arena], AbstractContextManager[Target]]


@dataclass(frozen=True)
class Served:
    """An entry that answers HTTP."""

    start: Start
    stores: bool = True
    form: Form = SINGLE
    has_metrics: bool = False

    def __call__(self, arena: Arena, connections: int) -> Result:
        """Load it in a closed loop; a run whose rows don't match its 200s is void."""
        database.clear(arena.database_url)
        if arena.sender == WRK and self.form.events == 1:
            rules = Rules(self.stores, self.has_metrics)
            with self.start(arena) as target:
                return _result_of_wrk(volley.fire(arena, target, connections, rules))
        with self.start(arena) as target, tempfile.TemporaryDirectory() as directory:
            job = Job(
                target,
                arena.key,
                [payloads.example()],
                connections=connections,
                warm_up_s=arena.warm_up_s,
                seconds=arena.seconds,
                cores=arena.cores.others,
                postgres_pid=arena.postgres_pid,
                acknowledged=Path(directory) if self.stores else None,
                form=self.form,
            )
            run = crew.run(job, lambda *_: None)
            faults = self._audit(arena, run) if self.stores else []
        return _result(run, faults + _bad_answers(run))

    def _audit(self, arena: Arena, run: Run) -> list[str]:
        url, form = arena.database_url, self.form
        faults = []
        if form.ids_kept:
            faults += [f"{name}: {n}" for name, n in verify.audit(url, run).faults.items()]
        if form.events > 1 and (others := database.count_others(url, payloads.example())):
            faults.append(f"{others} rows are not what was sent")
        stored, answered = database.count(url), run.outcome.successes * form.events
        if stored != answered:
            faults.append(f"{answered} acknowledged, {stored} rows")
        return faults


class CopyAlone:
    """The COPY of the same rows, in the server's place; the number of connections is 1."""

    def __call__(self, arena: Arena, connections: int) -> Result:
        """Run it; rows that are not there make it void."""
        del connections
        database.clear(arena.database_url)
        before = machine.usage(arena.postgres_pid)
        copied = self._copy(arena)
        after = machine.usage(arena.postgres_pid)
        stored = database.count(arena.database_url)
        void = [] if stored == copied.rows_in_all else [f"{copied.rows_in_all} sent, {stored} rows"]
        # Postgres is watched from outside, so over warm-up and window together.
        cpu_s = after.cpu_s - before.cpu_s if before and after else 0.0
        return Result(
            events_per_s=copied.rows / copied.seconds,
            server_cpu_s_per_100k=_per_100k(copied.cpu_s, copied.rows),
            postgres_cpu_s_per_100k=_per_100k(cpu_s, copied.rows_in_all),
            latency_ms={},
            server_rss_bytes=0,
            client_cpu_us_per_request=0.0,
            void=void,
        )

    def _copy(self, arena: Arena) -> Copied:
        times = (f"--warm-up={arena.warm_up_s}", f"--seconds={arena.seconds}")
        with machine.pinned(arena.cores.server):
            ended = subprocess.run(  # noqa: S603 - our own program
                [
                    sys.executable,
                    "-m",
                    "bench.peers.copy",
                    "--database-url",
                    arena.database_url,
                    *times,
                ],
                stdout=subprocess.PIPE,
                env=servers.environment({}),
                check=False,
                timeout=arena.warm_up_s + arena.seconds + _COPY_GRACE_S,
            )
        if ended.returncode != 0:
            raise BenchError("the COPY alone failed; see above")
        return Copied(**msgspec.json.decode(ended.stdout))


def _result(run: Run, void: list[str]) -> Result:
    each = run.job.form.events
    events = run.outcome.answers * each
    return Result(
        events_per_s=run.outcome.events_per_s * each,
        server_cpu_s_per_100k=run.server.cpu_s_per_100k(events) if run.server else 0.0,
        postgres_cpu_s_per_100k=run.postgres.cpu_s_per_100k(events) if run.postgres else 0.0,
        latency_ms=latency_ms(run.outcome.latencies),
        server_rss_bytes=run.server.rss_bytes if run.server else 0,
        client_cpu_us_per_request=client_us(run.outcome),
        void=void,
        sender=OWN,
        sending_core_busy=run.core_busy,
        client_core_share=run.outcome.client_cpu_s / run.outcome.window_s,
    )


def _result_of_wrk(fired: Volley) -> Result:
    said, cpu_s = fired.sent.said, fired.sent.cpu_s
    return Result(
        events_per_s=said.requests / said.seconds,
        server_cpu_s_per_100k=_per_100k(fired.server_cpu_s, said.requests),
        postgres_cpu_s_per_100k=_per_100k(fired.postgres_cpu_s, said.requests),
        latency_ms=said.latency_ms,
        server_rss_bytes=fired.server_rss_bytes,
        client_cpu_us_per_request=cpu_s / said.requests * 1e6 if said.requests else 0.0,
        void=fired.faults,
        sender=WRK,
        sending_core_busy=fired.sent.core_busy,
        client_core_share=cpu_s / said.seconds,
    )


def _bad_answers(run: Run) -> list[str]:
    found = [
        f"{n} answers of {status}" for status, n in run.outcome.totals.items() if status != _OK
    ]
    if run.outcome.lost:
        found.append(f"{run.outcome.lost} requests without an answer")
    if run.outcome.miscounted:
        found.append(f"{run.outcome.miscounted} batches with more rows or fewer")
    if not run.outcome.answers:
        found.append("no answers")
    return found


def _per_100k(cpu_s: float, events: int) -> float:
    return cpu_s / events * 100_000 if events else 0.0
