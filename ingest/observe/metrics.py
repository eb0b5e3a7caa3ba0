"""Metrics: plain numbers that are counted once a batch and read at a scrape.

The books balance at every scrape, because one scrape reads all of them between two turns of the
event loop: accepted = committed + rejected after acceptance + in the queue (waiting or in a COPY).
Labels come from closed sets only, never from a client.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ingest.errors import Code

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)


class Gauges(Protocol):
    """What is read at a scrape rather than counted."""

    @property
    def accepted_events(self) -> int:
        """Events taken into the queue since the start."""

    @property
    def unsettled_events(self) -> int:
        """Events in the queue or in a COPY."""

    @property
    def unsettled_bytes(self) -> int:
        """The bytes of their rows."""


class Books:
    """What is counted, for one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.requests: Counter[int] = Counter()
        """Answers by status."""
        self.refused: Counter[Code] = Counter()
        """Refused events by code, before and after acceptance."""
        self.committed_events = 0
        self._batch_events = self._histogram("batch_events", "Events in a commit", _EVENTS)
        self._commit_seconds = self._histogram(
            "commit_seconds", "Time from taking a batch to its commit", _SECONDS
        )
        self._ack_seconds = self._histogram(
            "ack_seconds", "Time from a batch's first event to its answers", _SECONDS
        )

    def committed(self, events: int, commit_s: float) -> None:
        """Count a batch that is committed; its requests are about to be answered."""
        if not events:
            return
        self.committed_events += events
        self.requests[200] += events
        self._batch_events.observe(events)
        self._commit_seconds.observe(commit_s)

    def answered(self, ack_s: float) -> None:
        """Count that the requests of a batch have their answers."""
        self._ack_seconds.observe(ack_s)

    def refused_after_acceptance(self, code: Code, events: int) -> None:
        """Count events that were accepted and then had to be refused."""
        self.refused[code] += events

    def watch(
        self, gauges: Gauges, *, is_postgres_up: Callable[[], bool], keys: Callable[[], int]
    ) -> None:
        """Add what is read at a scrape, and the process's own figures."""
        self.registry.register(_Reader(self, gauges, is_postgres_up, keys))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def expose(self) -> bytes:
        """Return the exposition in Prometheus's text format."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"nonito_{name}", text, buckets=buckets, registry=self.registry)


class _Reader:
    """A collector over the books and the gauges."""

    def __init__(
        self,
        books: Books,
        gauges: Gauges,
        is_postgres_up: Callable[[], bool],
        keys: Callable[[], int],
    ) -> None:
        self._books = books
        self._gauges = gauges
        self._is_postgres_up = is_postgres_up
        self._keys = keys

    def collect(self) -> Iterable[Metric]:
        """Yield every metric but the histograms."""
        books, gauges = self._books, self._gauges
        requests = CounterMetricFamily("nonito_requests", "Answers by status", labels=["status"])
        for status, count in sorted(books.requests.items()):
            requests.add_metric([str(status)], count)
        rejected = CounterMetricFamily(
            "nonito_events_rejected", "Refused events by code", labels=["code"]
        )
        for code in Code:
            rejected.add_metric([code], books.refused[code])
        yield requests
        yield rejected
        yield _counter("events_accepted", "Events taken into the queue", gauges.accepted_events)
        yield _counter("events_committed", "Events committed", books.committed_events)
        yield _gauge("queue_events", "Events waiting or in a COPY", gauges.unsettled_events)
        yield _gauge("queue_bytes", "The size of their rows", gauges.unsettled_bytes)
        yield _gauge("postgres_up", "Whether Postgres can be written to", self._is_postgres_up())
        yield _gauge("keys_loaded", "API keys in memory", self._keys())


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"nonito_{name}", text, value=value)


def _gauge(name: str, text: str, value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"nonito_{name}", text, value=value)
