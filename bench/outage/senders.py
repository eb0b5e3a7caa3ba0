"""The senders that an outage meets: the load client, which here also notes when each answer came.

They run in this process, on its clock, so that what they see can be held against the time at which
Postgres was taken away.
"""

import asyncio
import gc
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.load import http
from bench.load.client import Load, clock
from bench.load.histogram import Histogram
from bench.load.ledger import Ledger
from bench.load.pool import Job
from bench.load.tally import Tally

_POLL_S: Final = 0.005
_OK: Final = 200

Seconds = NDArray[np.float64]


class Statuses(list[int]):
    """The answers that were no 200, and where in the tally each was put."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.places = array("q")
        self._tally = tally

    def append(self, status: int) -> None:
        """Take the status of the answer whose latency came last."""
        super().append(status)
        self.places.append(len(self._tally.took_s) - 1)


class Answers(NamedTuple):
    """What came back, in the order of coming: three arrays of shape (n,)."""

    due_s: Seconds
    answered_s: Seconds
    statuses: NDArray[np.int64]

    def first(self, status: int, after_s: float) -> float | None:
        """Return when the first answer of a status came from a time on; None if none did."""
        found = self.answered_s[(self.statuses == status) & (self.answered_s >= after_s)]
        return float(found.min()) if found.size else None

    def counted(self, begin_s: float, end_s: float) -> dict[int, int]:
        """Return how many answers of each status came in a time."""
        came = (self.answered_s >= begin_s) & (self.answered_s < end_s)
        statuses, counts = np.unique(self.statuses[came], return_counts=True)
        return {int(status): int(n) for status, n in zip(statuses, counts, strict=True)}

    def latency_ms(self, chosen: NDArray[np.bool_]) -> dict[str, float]:
        """Return p50, p90, p99, p99.9 and max of some answers; `chosen` is of shape (n,)."""
        histogram = Histogram()
        took_s = (self.answered_s - self.due_s)[chosen]
        histogram.record((took_s * 1e9).astype(np.int64))
        return histogram.latency_ms()


class Senders(Load):
    """All connections; a context manager of its own begins and ends them (`sending`)."""

    @property
    def answered(self) -> int:
        """Return how many answers came so far."""
        return sum(connection.answers for connection in self.connections)

    @property
    def others(self) -> int:
        """Return how many of them were no 200."""
        return len(self.tally.other_statuses)

    @property
    def good(self) -> int:
        """Return how many of them were a 200."""
        return self.answered - self.others

    def stop(self) -> None:
        """Let nothing be due from now on."""
        self._end_s = clock()

    def unanswered(self) -> int:
        """Return how many requests got no answer, and never will."""
        return self.tally.lost + len(self.waiting_s()) + len(self.backlog)

    def totals(self) -> Counter[int]:
        """Return how many answers of each status there were."""
        others = Counter(self.tally.other_statuses)
        return others + Counter({_OK: self.good})

    def answers(self) -> Answers:
        """Return every answer that was timed."""
        due_s, took_s = np.array(self.tally.due_s), np.array(self.tally.took_s)
        statuses = np.full(due_s.size, _OK)
        others = self.tally.other_statuses
        if isinstance(others, Statuses) and due_s.size:
            statuses[np.array(others.places)] = np.array(others)
        return Answers(due_s, due_s + took_s, statuses)

    async def wait_for(self, condition: Callable[[], bool], timeout_s: float, *, what: str) -> None:
        """Wait until a condition holds, asked now and then; raise BenchError when it is late."""
        end_s = clock() + timeout_s
        while not condition():  # an event would cost every answer
            if self.tally.broken:
                raise BenchError(self.tally.broken)
            if clock() >= end_s:
                raise BenchError(f"{what} did not come within {timeout_s:g} s")
            await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def sending(job: Job, ledger: Ledger, *, is_timed: bool) -> AsyncIterator[Senders]:
    """Send as a job says until the block ends; then everybody is answered, or counted as lost.

    An open loop (`job.rate`) is timed from when requests were due. What was acknowledged goes to
    the ledger.
    """
    tally = Tally(keeps_ids=True)
    if is_timed:
        tally.measuring_since_s = 0.0
        tally.other_statuses = Statuses(tally)
    requests = [
        http.request(f"{job.endpoint.host}:{job.endpoint.port}", job.key, each.body)
        for each in job.payloads
    ]
    senders = Senders((job.endpoint.host, job.endpoint.port), requests, job.rate, tally)
    gc.disable()  # a collection would count as the server's time
    try:
        await senders.connect(job.connections)
        senders.start(clock(), float("inf"))
        yield senders
        senders.stop()
        await senders.finish(job.drain_s)
    finally:
        senders.close()
        gc.enable()
    if tally.broken:
        raise BenchError(tally.broken)
    ledger.append(tally.ids, tally.payloads)
