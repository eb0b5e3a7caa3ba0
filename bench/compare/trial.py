"""One trial of one entry: start it on a clean table, load it, verify it, and stop it."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from bench import machine, servers
from bench.compare import volley
from bench.compare.peers.copy import Copied
from bench.compare.result import TrialResult
from bench.compare.sender import OWN, WRK
from bench.compare.setup import Setup
from bench.compare.volley import Rules, Volley
from bench.errors import BenchError
from bench.load import database, payloads, pool, verify
from bench.load.forms import SINGLE, Form
from bench.load.pool import Job, Run
from bench.servers import Endpoint

_COPY_GRACE_S = 60.0


class Trial(Protocol):
    """Runs one entry once."""

    def __call__(self, setup: Setup, connections: int) -> TrialResult:
        """Return what was found."""


Start = Callable[[Setup], AbstractContextManager[Endpoint]]


@dataclass(frozen=True)
class Served:
    """An entry that answers HTTP."""

    start: Start
    stores: bool = True
    form: Form = SINGLE
    has_metrics: bool = False

    def __call__(self, setup: Setup, connections: int) -> TrialResult:
        """Load it in a closed loop; a trial whose rows don't match its 200s is void."""
        database.clear(setup.database_url)
        if setup.sender == WRK and self.form.events == 1:
            rules = Rules(self.stores, self.has_metrics)
            with self.start(setup) as endpoint:
                return _result_of_wrk(volley.fire(setup, endpoint, connections, rules))
        with self.start(setup) as endpoint, tempfile.TemporaryDirectory() as directory:
            job = Job(
                endpoint,
                setup.key,
                [payloads.example()],
                connections=connections,
                warm_up_s=setup.warm_up_s,
                seconds=setup.seconds,
                cores=setup.cores.others,
                postgres_pid=setup.postgres_pid,
                acknowledged=Path(directory) if self.stores else None,
                form=self.form,
            )
            run = pool.run(job, lambda *_: None)
            faults = self._verify(setup, run) if self.stores else []
        return _result(run, faults + _bad_answers(run))

    def _verify(self, setup: Setup, run: Run) -> list[str]:
        url, form = setup.database_url, self.form
        faults = []
        if form.ids_kept:
            faults += [f"{name}: {n}" for name, n in verify.verify(url, run).faults.items()]
        if form.events > 1 and (others := database.count_others(url, payloads.example())):
            faults.append(f"{others} rows are not what was sent")
        stored, answered = database.count(url), run.stats.successes * form.events
        if stored != answered:
            faults.append(f"{answered} acknowledged, {stored} rows")
        return faults


class CopyAlone:
    """The COPY of the same rows, in the server's place; the number of connections is 1."""

    def __call__(self, setup: Setup, connections: int) -> TrialResult:
        """Run it; rows that are not there make it void."""
        del connections
        database.clear(setup.database_url)
        before = machine.usage(setup.postgres_pid)
        copied = self._copy(setup)
        after = machine.usage(setup.postgres_pid)
        stored = database.count(setup.database_url)
        void = [] if stored == copied.rows_in_all else [f"{copied.rows_in_all} sent, {stored} rows"]
        # Postgres is watched from outside, so over warm-up and window together.
        cpu_s = after.cpu_s - before.cpu_s if before and after else 0.0
        return TrialResult(
            events_per_s=copied.rows / copied.seconds,
            server_cpu_s_per_100k=_per_100k(copied.cpu_s, copied.rows),
            postgres_cpu_s_per_100k=_per_100k(cpu_s, copied.rows_in_all),
            latency_ms={},
            server_rss_bytes=0,
            client_cpu_us_per_request=0.0,
            void=void,
        )

    def _copy(self, setup: Setup) -> Copied:
        times = (f"--warm-up={setup.warm_up_s}", f"--seconds={setup.seconds}")
        with machine.pinned(setup.cores.server):
            ended = subprocess.run(  # noqa: S603 - our own program
                [
                    sys.executable,
                    "-m",
                    "bench.compare.peers.copy",
                    "--database-url",
                    setup.database_url,
                    *times,
                ],
                stdout=subprocess.PIPE,
                env=servers.environment({}),
                check=False,
                timeout=setup.warm_up_s + setup.seconds + _COPY_GRACE_S,
            )
        if ended.returncode != 0:
            raise BenchError("the COPY alone failed; see above")
        return Copied(**msgspec.json.decode(ended.stdout))


def _result(run: Run, void: list[str]) -> TrialResult:
    each = run.job.form.events
    events = run.stats.answers * each
    return TrialResult(
        events_per_s=run.stats.events_per_s * each,
        server_cpu_s_per_100k=run.server.cpu_s_per_100k(events) if run.server else 0.0,
        postgres_cpu_s_per_100k=run.postgres.cpu_s_per_100k(events) if run.postgres else 0.0,
        latency_ms=run.stats.latencies.latency_ms(),
        server_rss_bytes=run.server.rss_bytes if run.server else 0,
        client_cpu_us_per_request=run.stats.client_us,
        void=void,
        sender=OWN,
        sending_core_busy=run.core_busy,
        client_core_share=run.stats.client_cpu_s / run.stats.window_s,
    )


def _result_of_wrk(fired: Volley) -> TrialResult:
    said, cpu_s = fired.sent.said, fired.sent.cpu_s
    return TrialResult(
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
    return run.stats.faults + ([] if run.stats.answers else ["no answers"])


def _per_100k(cpu_s: float, events: int) -> float:
    return cpu_s / events * 100_000 if events else 0.0
