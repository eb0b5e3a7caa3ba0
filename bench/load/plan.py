"""What one load run is to do, and what came of it, as they travel between processes."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.load.forms import SINGLE, Form
from bench.load.histogram import Histogram, Sparse

_OK = 200


@dataclass(frozen=True)
class Plan:
    """One process's share of a load run."""

    host: str
    port: int
    requests: list[bytes]
    """Whole requests, sent in turn; the index of one is the index of its payload."""
    connections: int
    rate: float
    """Requests a second, or 0 for a closed loop: each connection sends when it has its answer."""
    warm_up_s: float
    seconds: float
    slice_s: float
    """How long each point of the latency over time is."""
    drain_s: float
    """How long to wait for answers after the last request was due."""
    acknowledged: Path | None = None
    """Where to keep what was acknowledged, for the audit."""
    cores: frozenset[int] = frozenset()
    """Where to run; empty for anywhere."""
    delay_s: float = 0.0
    """Open loop: how long after the common start its first request is due."""
    form: Form = SINGLE
    """Of the requests; batches go in a closed loop only."""


class Progress(NamedTuple):
    """What one process did so far: answers since its start."""

    answers: int


@dataclass
class Stats:
    """What one process, or all of them added up, measured between warm-up and end."""

    window_s: float = 0.0
    """How long it measured."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Answers that came in while it measured."""
    totals: Counter[int] = field(default_factory=Counter)
    """All answers from the first to the last, those to the warm-up included."""
    lost: int = 0
    """Requests that never got an answer: broken connections, and answers not waited for."""
    miscounted: int = 0
    """Acknowledged batches whose answer has more rows or fewer."""
    unsent: int = 0
    """Open loop: requests that were due but that no connection was free to send."""
    latencies: Histogram = field(default_factory=Histogram)
    lags: Histogram = field(default_factory=Histogram)
    """Open loop: how long after each request was due the client wrote it, or found that no
    connection was free: the part of its latency that is the client's own."""
    slices: dict[int, Sparse] = field(default_factory=dict)
    """All latencies by the time slice in which their requests were due."""
    client_cpu_s: float = 0.0
    failure: str = ""
    """Why the run broke off, if it did."""

    @property
    def answers(self) -> int:
        """Return how many answers came in while it measured."""
        return self.statuses.total()

    @property
    def events_per_s(self) -> float:
        """Return acknowledged requests a second: events, unless a request is a batch."""
        return _good(self.statuses) / self.window_s if self.window_s else 0.0

    @property
    def client_us(self) -> float:
        """Return the client's CPU time per request in microseconds."""
        return self.client_cpu_s / self.answers * 1e6 if self.answers else 0.0

    @property
    def successes(self) -> int:
        """Return all acknowledged requests, warm-up included."""
        return _good(self.totals)

    @property
    def faults(self) -> list[str]:
        """Return what was not answered as it should be; empty when all got a 200, and whole."""
        found = [f"{n} answers of {status}" for status, n in self.totals.items() if status != _OK]
        if self.lost:
            found.append(f"{self.lost} requests without an answer")
        if self.miscounted:
            found.append(f"{self.miscounted} batches with more rows or fewer")
        return found

    def add(self, other: "Stats") -> None:
        """Add what another process measured at the same time."""
        self.window_s = max(self.window_s, other.window_s)
        self.statuses += other.statuses
        self.totals += other.totals
        self.lost += other.lost
        self.miscounted += other.miscounted
        self.unsent += other.unsent
        self.latencies.add(other.latencies.sparse())
        self.lags.add(other.lags.sparse())
        for number, sparse in other.slices.items():
            merged = Histogram.of(self.slices[number]) if number in self.slices else Histogram()
            merged.add(sparse)
            self.slices[number] = merged.sparse()
        self.client_cpu_s += other.client_cpu_s
        self.failure = self.failure or other.failure


def is_success(status: int) -> bool:
    """Return whether a status acknowledges an event: 200 or 202."""
    return 200 <= status < 300  # noqa: PLR2004 - the class of successes


def _good(statuses: Counter[int]) -> int:
    return sum(count for status, count in statuses.items() if is_success(status))
