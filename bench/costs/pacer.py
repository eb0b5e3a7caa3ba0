"""Bare COPYs at a steady pace, in a process of its own: what Postgres alone takes for a commit.

They travel as the server's do, by its own links. Each is timed from when it is sent: one that falls
due while all connections are busy waits without being counted, as a sender's next event does in a
closed loop.
"""

import asyncio
import gc
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import uvloop

from bench.costs.rows import documents
from bench.errors import BenchError
from bench.load.client import clock
from bench.load.histogram import Histogram, Sparse
from bench.load.ticker import Ticker
from ingest.app.database import make_postgres
from ingest.config import Config
from ingest.delivery.events_table import EVENTS
from ingest.store.failures import RowRefused, Unavailable
from ingest.store.link import CopyLink


class Pace(NamedTuple):
    """What to COPY, and how often."""

    rows: int
    """Of each COPY."""
    per_s: float
    connections: int
    warm_up_s: float
    """How long to COPY before what counts."""
    seconds: float

    @property
    def warm_up_copies(self) -> int:
        """Return how many COPYs do not count."""
        return round(self.per_s * self.warm_up_s)

    @property
    def copies(self) -> int:
        """Return how many COPYs there are in all."""
        return self.warm_up_copies + max(1, round(self.per_s * self.seconds))


class Copied(NamedTuple):
    """What was committed."""

    latencies: Sparse
    """Of the COPYs behind the warm-up."""
    rows: int
    """Those of the warm-up included."""
    per_s: float
    """COPYs a second in all: what was kept of the pace."""


def copy(database_url: str, cores: frozenset[int], pace: Pace) -> Copied:
    """Run bare COPYs on these cores; raise BenchError.

    In this process each redrawing of a progress bar would hold up a COPY.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as executor:
        return executor.submit(_work, database_url, cores, pace).result()


def _work(database_url: str, cores: frozenset[int], pace: Pace) -> Copied:
    os.sched_setaffinity(0, cores)
    gc.disable()  # a collection would count as Postgres's time
    try:
        return uvloop.run(_copy(database_url, pace))
    except (RowRefused, Unavailable) as failure:
        raise BenchError(f"a bare COPY failed: {failure}") from None


async def _copy(database_url: str, pace: Pace) -> Copied:
    postgres = make_postgres(Config(), database_url)
    links = [CopyLink(postgres, EVENTS) for _ in range(pace.connections)]
    async with AsyncExitStack() as stack:
        for link in links:
            stack.push_async_callback(link.close)
            await link.open()
        return await _Pacer(pace).run(links)


class _Pacer:
    """Lets COPYs fall due one after the other; a free connection takes each."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._documents = documents()
        self._ticker = Ticker(self._tick)
        self._due = asyncio.Semaphore(0)
        self._fallen_due = 0
        self._claimed = 0
        self._took_s: list[float] = []
        self._start_s = 0.0

    async def run(self, links: list[CopyLink]) -> Copied:
        """COPY on all connections until the last has been committed."""
        self._start_s = clock()
        self._tick()
        try:
            await asyncio.gather(*map(self._serve, links))
        finally:
            self._ticker.close()
        return self._result(clock() - self._start_s)

    async def _serve(self, link: CopyLink) -> None:
        """Take COPY after COPY; each document is made before it falls due."""
        rows = self._pace.rows
        while self._claimed < self._pace.copies:
            self._claimed += 1
            document = self._documents(rows)
            await self._due.acquire()
            began_s = clock()
            await link.copy(document, rows)
            self._took_s.append(clock() - began_s)

    def _tick(self) -> None:
        """Let fall due what is due, and come back for the next one."""
        while (due_s := self._start_s + self._fallen_due / self._pace.per_s) <= clock():
            self._fallen_due += 1
            self._due.release()
        if self._fallen_due < self._pace.copies:
            self._ticker.arm(due_s)

    def _result(self, elapsed_s: float) -> Copied:
        copies, counted = len(self._took_s), self._took_s[self._pace.warm_up_copies :]
        latencies = Histogram()
        latencies.record((np.array(counted) * 1e9).astype(np.int64))
        return Copied(latencies.sparse(), copies * self._pace.rows, copies / elapsed_s)
