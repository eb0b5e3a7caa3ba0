"""One process of the load client: runs its share of the load and measures it."""

import asyncio
import gc
import os
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection as Pipe

import numpy as np
import uvloop
from numpy.typing import NDArray

from bench.load.bulk import BulkConnection
from bench.load.client import Connection, Load, clock
from bench.load.histogram import Histogram, Sparse
from bench.load.ledger import Ledger
from bench.load.plan import Plan, Progress, Stats
from bench.load.tally import Tally

Seconds = NDArray[np.float64]

_FLUSH_S = 0.1
"""Nothing is sent meanwhile: 0.3 ms, nearly as much every 20 ms as every 100."""
_PROGRESS_S = 0.5
_RECENT_SLICES = 8


def work(plan: Plan, pipe: Pipe) -> None:
    """Connect, say so, wait for the time to start, run, and send the Stats; for a process."""
    if plan.cores:
        os.sched_setaffinity(0, plan.cores)
    gc.disable()  # the client makes no cycles, and a collection would count as the server's time
    try:
        with ExitStack() as stack:
            directory = plan.acknowledged
            ledger = stack.enter_context(Ledger(directory)) if directory is not None else None
            stats = uvloop.run(_Worker(plan, pipe, ledger).run())
    except OSError as error:
        stats = Stats(failure=f"{plan.host}:{plan.port}: {error or type(error).__name__}")
    pipe.send(stats)


class LatencySlices:
    """Turns what a Tally gathered into histograms, one a time slice, in little memory."""

    def __init__(self, slice_s: float) -> None:
        self._slice_s = slice_s
        self._recent: dict[int, Histogram] = {}
        self._slices: dict[int, Sparse] = {}

    def record(self, due_s: Seconds, took_s: Seconds) -> None:
        """Record latencies by when their requests were due after the warm-up; shapes (n,)."""
        numbers = (due_s / self._slice_s).astype(np.int64)
        took_ns = (took_s * 1e9).astype(np.int64)
        for number in np.unique(numbers):
            self._slice(int(number)).record(took_ns[numbers == number])

    def finish(self) -> tuple[Histogram, dict[int, Sparse]]:
        """Return all latencies, and those of each slice."""
        for number in list(self._recent):
            self._put_away(number)
        total = Histogram()
        for sparse in self._slices.values():
            total.add(sparse)
        return total, self._slices

    @classmethod
    def warm_up(cls) -> None:
        """Record something for nothing: the first time numpy loads code, 9 to 15 ms of it."""
        slices = cls(1.0)
        slices.record(np.array([0.0, 1.0]), np.array([1e-3, 1e-3]))
        slices.finish()

    def _slice(self, number: int) -> Histogram:
        if number not in self._recent:
            if len(self._recent) == _RECENT_SLICES:
                self._put_away(min(self._recent))
            kept = self._slices.pop(number, None)
            self._recent[number] = Histogram.of(kept) if kept else Histogram()
        return self._recent[number]

    def _put_away(self, number: int) -> None:
        self._slices[number] = self._recent.pop(number).sparse()


class _Worker:
    """One run from begin to end: warm-up, window, waiting for the last answers."""

    def __init__(self, plan: Plan, pipe: Pipe, ledger: Ledger | None) -> None:
        self._plan = plan
        self._pipe = pipe
        self._tally = Tally(keeps_ids=ledger is not None)
        self._slices = LatencySlices(plan.slice_s)
        self._lags = Histogram()
        self._others: Counter[int] = Counter()
        self._ledger = ledger

    async def run(self) -> Stats:
        """Return what was measured; raise OSError if the server can't be reached."""
        plan = self._plan
        is_batch = plan.form.events > 1
        closed = partial(BulkConnection, form=plan.form) if is_batch else Connection
        self._load = Load((plan.host, plan.port), plan.requests, plan.rate, self._tally, closed)
        await self._load.connect(plan.connections)
        LatencySlices.warm_up()
        self._pipe.send(Progress(0))
        stats = await self._measure(await self._when_to_start())
        self._load.close()
        return stats

    async def _when_to_start(self) -> float:
        start_s = await asyncio.to_thread(self._pipe.recv)
        await asyncio.sleep(start_s - clock())
        return float(start_s)

    async def _measure(self, start_s: float) -> Stats:
        begin_s = start_s + self._plan.warm_up_s
        end_s = begin_s + self._plan.seconds
        self._begin_s = self._tally.measuring_since_s = begin_s
        self._load.start(start_s + self._plan.delay_s, end_s)
        await self._run_until(begin_s)
        before, began_s, cpu_s = self._statuses(), clock(), time.process_time()
        await self._run_until(end_s)
        stats = Stats(
            window_s=clock() - began_s,
            statuses=self._statuses() - before,
            client_cpu_s=time.process_time() - cpu_s,
        )
        await self._load.finish(self._plan.drain_s)
        self._count_unanswered(stats)
        self._flush()
        stats.totals = self._statuses()
        stats.latencies, stats.slices = self._slices.finish()
        stats.lags = self._lags
        stats.miscounted = self._tally.miscounted
        stats.failure = self._tally.broken
        return stats

    async def _run_until(self, end_s: float) -> None:
        told_s = 0.0
        while (now_s := clock()) < end_s and not self._tally.broken:
            await asyncio.sleep(min(_FLUSH_S, end_s - now_s))
            self._flush()
            if now_s - told_s > _PROGRESS_S:
                told_s = now_s
                self._pipe.send(Progress(self._answers()))

    def _answers(self) -> int:
        return sum(connection.answers for connection in self._load.connections)

    def _statuses(self) -> Counter[int]:
        self._flush()
        good = self._answers() - self._others.total()
        return self._others + Counter({200: good})

    def _count_unanswered(self, stats: Stats) -> None:
        """Let requests without an answer count with the time that they have waited."""
        tally, waiting_s = self._tally, self._load.waiting_s()
        stats.lost = tally.lost + len(waiting_s)
        stats.unsent = len(self._load.backlog)
        now_s = clock()
        for due_s in (*waiting_s, *self._load.backlog):
            if due_s >= tally.measuring_since_s:
                tally.due_s.append(due_s)
                tally.took_s.append(now_s - due_s)

    def _flush(self) -> None:
        tally = self._tally
        due_s, took_s = np.array(tally.due_s), np.array(tally.took_s)
        del tally.due_s[:], tally.took_s[:]
        if due_s.size:
            self._slices.record(due_s - self._begin_s, took_s)
        self._lags.record((np.array(tally.lag_s) * 1e9).astype(np.int64))
        del tally.lag_s[:]
        self._others.update(tally.other_statuses)
        tally.other_statuses.clear()
        if self._ledger is not None:
            self._ledger.append(tally.ids, tally.payloads)
