"""What asking costs those who send: a load alone, under questions, and beside a stand-in for them.

One heavy question after the other is asked, each of another range, so that none is answered by
what is kept. The stand-in takes as much CPU as the insights process took, in as many threads as a
question has and as many bursts as there were questions, and is as nice; what is left between the
two is what the answering touches: Postgres, the disk, memory. The archiver has its turn between
rounds, so that no load has it beside it that another has not; and each question reads again what
the round has sent.
"""

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Final, Self

from bench import machine, servers
from bench.console import Update
from bench.errors import BenchError
from bench.insights import filling
from bench.insights.filling import TIMEOUT_S, Site
from bench.insights.result import Load, LoadRound
from bench.insights.serving import Reader, Served, serving
from bench.load import database, neighbour, payloads, pool
from bench.load.database import Session
from bench.load.pool import Job
from ingest.archive.view import question_threads
from ingest.config import Config

LOADS: Final = 3
"""Of each round."""

_NICENESS: Final = 10
"""Of the insights process."""
_CONNECTIONS: Final = 64
_WARM_UP_S: Final = 0.5
_INSTANT: Final = timedelta(microseconds=1)
_ANSWER_TIMEOUT_S: Final = 120.0
_APP: Final = "bench"
"""Of those who send: `servers.make_key`'s."""


def measure(
    site: Site, rounds: int, seconds: float, update: Update
) -> tuple[list[LoadRound], list[str]]:
    """Return what each round found, and what is amiss; raise BenchError."""
    url = site.place.database_url
    with serving(site) as served:
        job = Job(
            served.endpoint,
            servers.make_key(url),
            [payloads.example()],
            connections=_CONNECTIONS,
            warm_up_s=_WARM_UP_S,
            seconds=seconds,
        )
        loads = _Loads(site, served, job, update)
        return [loads.round() for _ in range(rounds)], loads.faults


class _Loads:
    """Loads on one server, and how many events were acknowledged."""

    def __init__(self, site: Site, served: Served, job: Job, update: Update) -> None:
        self._site = site
        self._served = served
        self._job = job
        self._update = update
        self._acknowledged = _count(site.place.database_url)
        self.faults: list[str] = []
        """What is amiss in all of them."""

    def round(self) -> LoadRound:
        """Load it three times, and have what it has stored archived."""
        alone = self._load(nullcontext(), None)
        with _Asking(self._site, self._served.reader) as asking:
            asked = self._load(nullcontext(), asking)
        share, per_s = asked.cpu_share, max(asked.questions, 1) / self._job.total_s
        threads = question_threads(Config())
        stand_in = neighbour.beside(frozenset(), share, per_s, _NICENESS, threads)
        beside = self._load(stand_in, None, share)
        stored = _count(self._site.place.database_url)
        if stored != self._acknowledged:
            self.faults.append(f"{self._acknowledged} acknowledged, {stored} rows")
            self._acknowledged = stored
        filling.archive(self._site.place, lambda **_: None)
        return LoadRound(alone, asked, beside)

    def _load(
        self,
        neighbour_: AbstractContextManager[None],
        asking: "_Asking | None",
        share: float | None = None,
    ) -> Load:
        pid = self._served.insights_pid
        before, begun_s = machine.cpu_clock_s(pid), time.perf_counter()
        questions = asking.answered if asking else 0
        with neighbour_:
            stats = pool.run(self._job, lambda *_: None).stats
        used = (machine.cpu_clock_s(pid) - before) / (time.perf_counter() - begun_s)
        self._acknowledged += stats.successes
        self.faults += stats.faults
        self._update(advance=1)
        if not stats.answers:
            raise BenchError("a load without an answer; give it more --load-seconds")
        latency_ms = stats.latencies.latency_ms()
        return Load(
            stats.events_per_s,
            latency_ms["p50"],
            latency_ms["p99"],
            asking.answered - questions if asking else 0,
            used if share is None else share,
        )


class _Asking:
    """Asks one heavy question after the other, in a thread."""

    def __init__(self, site: Site, reader: Reader) -> None:
        self._site = site
        self._reader = reader
        self._over = threading.Event()
        self._failure: BenchError | None = None
        self._thread = threading.Thread(target=self._ask, name="reader")
        self.answered = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_ANSWER_TIMEOUT_S)
        if self._failure is not None:
            raise self._failure
        if not self.answered:
            raise BenchError("no question was answered; give it more --load-seconds")

    def _ask(self) -> None:
        try:
            while not self._over.is_set():
                self._reader.ask("/v1/retention", self._question(self.answered))
                self.answered += 1
        except BenchError as error:
            self._failure = error

    def _question(self, number: int) -> dict[str, str]:
        start, end = self._site.filled.period
        return {
            "from": (start + number * _INSTANT).isoformat(),
            "to": end.isoformat(),
            "interval": "week",
            "timezone": "UTC",
        }


def _count(url: str) -> int:
    async def work(connection: Session) -> int:
        return int(
            await connection.fetchval(
                "SELECT count(*) FROM events JOIN apps ON apps.id = app_id WHERE apps.name = $1",
                _APP,
            )
        )

    return database.run(url, work, TIMEOUT_S)
