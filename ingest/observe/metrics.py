"""Metrics: plain numbers that are counted once a batch and read at a scrape.

The metrics balance at every scrape, because one scrape reads all of them between two turns of the
event loop: accepted + recovered = committed + replayed + set aside + damaged + failed + duplicate
+ in the spool + in the queue (waiting, or in a COPY). Labels come from closed sets only.
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


class SpoolGauges(Protocol):
    """The same of the spool."""

    @property
    def bytes(self) -> int:
        """What it takes on disk."""

    @property
    def oldest_s(self) -> float:
        """The age of its oldest event."""

    @property
    def recovered_events(self) -> int:
        """Events found there that another process had left; only ever grows."""

    @property
    def newly_damaged_events(self) -> int:
        """Events that the disk damaged since they were appended or found; only ever grows."""


class Metrics:
    """What is counted, for one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.requests: Counter[int] = Counter()
        """Answers by status."""
        self.uncounted_events = 0
        """Of the batch that is being answered: those that are no requests of the fast lane, which
        are counted elsewhere. Their waiters count them here; a Counter would cost 0.1 µs more."""
        self.refused: Counter[Code] = Counter()
        """Refused events by code, before and after acceptance."""
        self.committed_events = 0
        self.spooled_events = 0
        self.replayed_events = 0
        self.set_aside_events = 0
        """Spooled, and then refused by Postgres: in `rejected_events`."""
        self.failed_events = 0
        """Accepted, and then refused."""
        self.duplicate_events = 0
        """Accepted, and then found to have been sent before."""
        self.async_acks = 0
        """Requests that were answered before their event was durable, as they asked."""
        self.async_refused_events = 0
        """Events of theirs that were refused after all: nobody was told."""
        self._spool: SpoolGauges | None = None
        self._batch_events = self._histogram("batch_events", "Events in a commit", _EVENTS)
        self._commit_seconds = self._histogram(
            "commit_seconds", "Time from taking a batch to its commit", _SECONDS
        )
        self._ack_seconds = self._histogram(
            "ack_seconds", "Time from a batch's first event to its answers", _SECONDS
        )

    def committed(self, events: int, commit_s: float) -> None:
        """Count a batch that is committed."""
        if not events:
            return
        self.committed_events += events
        self._batch_events.observe(events)
        self._commit_seconds.observe(commit_s)

    def answered(self, events: int, ack_s: float) -> None:
        """Count that the requests of a committed batch have their answers."""
        self._answered(200, events)
        self._ack_seconds.observe(ack_s)

    def _answered(self, status: int, events: int) -> None:
        self.requests[status] += events - self.uncounted_events
        self.uncounted_events = 0

    @property
    def recovered_events(self) -> int:
        """Found in the spool: another process left them there."""
        return self._spool.recovered_events if self._spool else 0

    @property
    def damaged_events(self) -> int:
        """Spooled, and then damaged on the disk: set aside there."""
        return self._spool.newly_damaged_events if self._spool else 0

    @property
    def events_in_spool(self) -> int:
        """Spooled and not yet replayed."""
        come = self.spooled_events + self.recovered_events
        return come - self.replayed_events - self.set_aside_events - self.damaged_events

    def spooled(self, events: int) -> None:
        """Count a batch that is in the spool, and that its requests have their answers."""
        self.spooled_events += events
        self._answered(202, events)

    def failed(self, code: Code, events: int) -> None:
        """Count events that were accepted and then had to be refused."""
        self.refused[code] += events
        self.failed_events += events

    def attach(
        self,
        gauges: Gauges,
        spool: SpoolGauges | None,
        *,
        is_postgres_up: Callable[[], bool],
        keys: Callable[[], int],
    ) -> None:
        """Add what is read at a scrape, and the process's own figures."""
        self._spool = spool
        self.registry.register(_Reader(self, gauges, spool, is_postgres_up, keys))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def expose(self) -> bytes:
        """Return the exposition in Prometheus's text format."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"nonito_{name}", text, buckets=buckets, registry=self.registry)


class _Reader:
    """A collector over the metrics and the gauges."""

    def __init__(
        self,
        metrics: Metrics,
        gauges: Gauges,
        spool: SpoolGauges | None,
        is_postgres_up: Callable[[], bool],
        keys: Callable[[], int],
    ) -> None:
        self._metrics = metrics
        self._gauges = gauges
        self._spool = spool
        self._is_postgres_up = is_postgres_up
        self._keys = keys

    def collect(self) -> Iterable[Metric]:
        """Yield every metric but the histograms."""
        metrics, gauges = self._metrics, self._gauges
        requests = CounterMetricFamily("nonito_requests", "Answers by status", labels=["status"])
        for status, count in sorted(metrics.requests.items()):
            requests.add_metric([str(status)], count)
        rejected = CounterMetricFamily(
            "nonito_events_rejected", "Refused events by code", labels=["code"]
        )
        for code in Code:
            rejected.add_metric([code], metrics.refused[code])
        yield requests
        yield rejected
        yield _counter("events_accepted", "Events taken into the queue", gauges.accepted_events)
        yield _counter("events_committed", "Events committed at once", metrics.committed_events)
        yield _counter("events_failed", "Accepted events that were refused", metrics.failed_events)
        yield _counter(
            "events_duplicate", "Accepted events that were sent before", metrics.duplicate_events
        )
        yield from self._collect_async()
        yield from self._collect_spool()
        yield _gauge("queue_events", "Events waiting or in a COPY", gauges.unsettled_events)
        yield _gauge("queue_bytes", "The size of their rows", gauges.unsettled_bytes)
        yield _gauge("postgres_up", "Whether Postgres can be written to", self._is_postgres_up())
        yield _gauge("keys_loaded", "API keys in memory", self._keys())

    def _collect_async(self) -> Iterable[Metric]:
        metrics = self._metrics
        yield _counter(
            "async_acks", "Requests answered before their event was durable", metrics.async_acks
        )
        yield _counter(
            "async_events_refused",
            "Events refused after their early answer",
            metrics.async_refused_events,
        )

    def _collect_spool(self) -> Iterable[Metric]:
        metrics, spool = self._metrics, self._spool
        yield _counter("events_spooled", "Events put into the spool", metrics.spooled_events)
        yield _counter("events_recovered", "Events found in the spool", metrics.recovered_events)
        yield _counter(
            "events_replayed", "Events brought from the spool to Postgres", metrics.replayed_events
        )
        yield _counter(
            "events_set_aside",
            "Events of the spool that Postgres refused: see nonito rejected",
            metrics.set_aside_events,
        )
        yield _counter(
            "events_damaged", "Events that the spool's disk damaged", metrics.damaged_events
        )
        yield _gauge("spool_events", "Events in the spool", metrics.events_in_spool)
        yield _gauge("spool_bytes", "What the spool takes on disk", spool.bytes if spool else 0)
        yield _gauge(
            "spool_oldest_seconds", "The age of its oldest event", spool.oldest_s if spool else 0
        )


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"nonito_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"nonito_{name}", text, value=value)
