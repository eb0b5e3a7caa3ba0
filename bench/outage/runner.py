"""What an outage of Postgres costs senders, and how fast the spool is drained after it.

One server, one run: first how many events it takes while all is well (a closed loop); then, under
a steady load (an open loop, so that a stall shows in every request that it delayed), Postgres is
killed, and later hung, and each time brought back; then the spool is filled while Postgres is away,
and drained. In the end every acknowledged event has to be in Postgres, once and as it was sent, and
nothing else may be there: else the run is void.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from bench import machine, metrics, servers
from bench.errors import BenchError
from bench.load import database, payloads, verify
from bench.load.client import clock
from bench.load.ledger import Ledger
from bench.load.plan import Stats
from bench.load.pool import Job, Run
from bench.outage.postgres import Postgres, running
from bench.outage.result import Drain, Outage, OutageResult, Times, describe
from bench.outage.senders import Senders, sending

_WARM_UP_S: Final = 0.5
_CALM_S: Final = 1.0
_FIRST_TIMEOUT_S: Final = 30.0
_AFTER_S: Final = 0.5
_SPOOL_BYTES_MAX: Final = 8 << 30
_EVENTS_PER_S_MIN: Final = 1_000
"""Slower than this and the spool is not being filled, or not being drained."""
_SCRAPE_INTERVAL_S: Final = 0.05

Say = Callable[[str], None]
Strike = Callable[[], float]
"""Does something to Postgres; returns when that began."""


@dataclass(frozen=True)
class OutagePlan:
    """How much of everything."""

    connections: int = 64
    rate: float = 2_000.0
    """Requests a second while Postgres is killed and hung."""
    seconds: float = 10.0
    """Of the ingest, and of each outage from the first 202 on."""
    events: int = 500_000
    """That are in the spool, at least, before it is drained."""
    commit_timeout_s: float = 5.0


def measure(plan: OutagePlan, say: Say) -> OutageResult:
    """Measure on a temporary Postgres; raise BenchError."""
    cores = machine.split_cores()
    settings = {
        "writer.commit_timeout_s": plan.commit_timeout_s,
        "spool.bytes_max": _SPOOL_BYTES_MAX,
    }
    with running(cores.others) as postgres, tempfile.TemporaryDirectory() as acknowledged:
        key = servers.make_key(postgres.url)
        with servers.ours(postgres.url, cores.server, settings) as endpoint:
            job = Job(
                endpoint,
                key,
                [payloads.example()],
                connections=plan.connections,
                acknowledged=Path(acknowledged),
            )
            with machine.pinned(cores.others):
                return _Run(plan, job, postgres, say).run()


class _Run:
    """The parts of a run, one after the other, on one server."""

    def __init__(self, plan: OutagePlan, job: Job, postgres: Postgres, say: Say) -> None:
        self._plan = plan
        self._job = job
        self._postgres = postgres
        self._say = say
        self._totals: Counter[int] = Counter()
        self._lost = 0

    def run(self) -> OutageResult:
        """Return what all parts found."""
        directory = self._job.acknowledged
        assert directory is not None  # noqa: S101 - for the type checker
        (directory / "0").mkdir()
        with Ledger(directory / "0") as self._ledger:
            ingest_per_s = uvloop.run(self._ingest())
            killed = self._outage("killed", self._postgres.kill, self._postgres.start)
            hung = self._outage("hung", self._postgres.hang, self._postgres.resume)
            drain = self._replay()
        return self._compare(ingest_per_s, killed, hung, drain)

    async def _ingest(self) -> float:
        """Return how many events a second are committed when everybody sends all the time."""
        self._say("ingest")
        async with self._sending(0.0, is_timed=False) as senders:
            await asyncio.sleep(_WARM_UP_S)
            before, began_s = senders.answered, clock()
            await asyncio.sleep(self._plan.seconds)
            return (senders.answered - before) / (clock() - began_s)

    def _outage(self, name: str, strike: Strike, mend: Strike) -> Outage:
        self._say(f"Postgres {name}")
        found = uvloop.run(self._through(strike, mend))
        self._say(f"draining what was sent while Postgres was {name}")
        self._wait_until_drained(_FIRST_TIMEOUT_S)
        return found

    async def _through(self, strike: Strike, mend: Strike) -> Outage:
        """Take Postgres away under a steady load, and bring it back."""
        async with self._sending(self._plan.rate, is_timed=True) as senders:
            await asyncio.sleep(_CALM_S)
            others = senders.others
            struck_s = await asyncio.to_thread(strike)
            timeout_s = self._plan.commit_timeout_s + _FIRST_TIMEOUT_S
            await senders.wait_for(lambda: senders.others > others, timeout_s, what="a 202")
            await senders.wait_for(lambda: not senders.backlog, _FIRST_TIMEOUT_S, what="calm")
            caught_up_s = clock()
            await asyncio.sleep(self._plan.seconds)
            good = senders.good
            mended_s = await asyncio.to_thread(mend)
            ready_s = clock()
            await senders.wait_for(lambda: senders.good > good, _FIRST_TIMEOUT_S, what="a 200")
            await asyncio.sleep(_AFTER_S)
        times = Times(struck_s, caught_up_s, mended_s, ready_s)
        return describe(senders.answers(), times)

    def _replay(self) -> Drain:
        """Fill the spool while Postgres is away, and drain it."""
        self._say("filling the spool")
        self._postgres.kill()
        fill_per_s = uvloop.run(self._fill())
        waiting = self._scrape()
        self._say("replaying")
        self._postgres.start()
        began_s = self._scrape_until(lambda scrape: scrape.is_up, _FIRST_TIMEOUT_S).at_s
        ended_s = self._wait_until_drained(self._plan.events / _EVENTS_PER_S_MIN).at_s
        return Drain(waiting.spooled, waiting.bytes, fill_per_s, ended_s - began_s)

    async def _fill(self) -> float:
        """Have so many events spooled; return how many a second that were."""
        events = self._plan.events
        async with self._sending(0.0, is_timed=False) as senders:
            began_s = clock()
            timeout_s = _FIRST_TIMEOUT_S + events / _EVENTS_PER_S_MIN
            await senders.wait_for(lambda: senders.others >= events, timeout_s, what="the last 202")
            return senders.others / (clock() - began_s)

    @asynccontextmanager
    async def _sending(self, rate: float, *, is_timed: bool) -> AsyncIterator[Senders]:
        job = replace(self._job, rate=rate)
        async with sending(job, self._ledger, is_timed=is_timed) as senders:
            yield senders
        self._totals += senders.totals()
        self._lost += senders.unanswered()

    def _wait_until_drained(self, timeout_s: float) -> "_Scrape":
        return self._scrape_until(lambda scrape: not scrape.spooled, timeout_s)

    def _scrape_until(self, is_reached: Callable[["_Scrape"], bool], timeout_s: float) -> "_Scrape":
        end_s = clock() + timeout_s
        while not is_reached(found := self._scrape()):
            if clock() >= end_s:
                raise BenchError(f"{found.spooled:,} events are still in the spool")
            time.sleep(_SCRAPE_INTERVAL_S)
        return found

    def _scrape(self) -> "_Scrape":
        endpoint = self._job.endpoint
        samples = metrics.scrape(endpoint.host, endpoint.port)
        return _Scrape(
            clock(),
            samples["postgres_up"] == 1,
            int(samples["spool_events"]),
            int(samples["spool_bytes"]),
        )

    def _compare(
        self, ingest_per_s: float, killed: Outage, hung: Outage, drain: Drain
    ) -> OutageResult:
        self._say("comparing with Postgres")
        job, url = self._job, self._postgres.url
        stats = Stats(totals=self._totals)
        verification = verify.verify(url, Run(job, stats, None, None))
        return OutageResult(
            connections=job.connections,
            rate_per_s=self._plan.rate,
            commit_timeout_s=self._plan.commit_timeout_s,
            ingest_per_s=ingest_per_s,
            killed=killed,
            hung=hung,
            drain=drain,
            statuses=dict(self._totals),
            unanswered=self._lost,
            stored=database.count(url),
            faults=verification.faults,
        )


class _Scrape(NamedTuple):
    """What the server says of itself."""

    at_s: float
    is_up: bool
    """Whether it can write to Postgres."""
    spooled: int
    """Events that wait in the spool."""
    bytes: int
    """Of the spool."""
