"""Metrics: plain numbers that are counted once a batch and read at a scrape.

The metrics balance at every scrape, because one scrape reads all of them between two turns of the
event loop: accepted + recovered = committed + replayed + dead-lettered + damaged + failed +
duplicate + in the spool + in the queue (waiting, or in a COPY). Labels come from closed sets only.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ingest.errors import Code
from ingest.observe.exposition import Exposition, expose

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OK = 200
_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)


class StateGauges(NamedTuple):
    """What is asked of other parts at a scrape."""

    is_postgres_up: Callable[[], bool]
    is_refusing_rows: Callable[[], bool]
    rejected_events: Callable[[], int]
    keys: Callable[[], int]


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
        """The size of the rows in the queue or in a COPY."""


class SpoolGauges(Protocol):
    """What is read of the spool at a scrape."""

    @property
    def bytes(self) -> int:
        """What the spool takes on disk."""

    @property
    def oldest_s(self) -> float:
        """The age of the oldest event in the spool."""

    @property
    def recovered_events(self) -> int:
        """Events found there that another process had left; only ever grows."""

    @property
    def newly_damaged_events(self) -> int:
        """Events that the disk damaged since they were appended or found; only ever grows."""


UNKNOWN_APP: Final = 0
"""The app of a request without a valid key; Postgres numbers apps from 1."""


class Metrics:
    """What is counted, for one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.answers: Counter[int] = Counter()
        """Answers that were sent, by status; but for those in `committed_answers`."""
        self.committed_answers = 0
        """The fast lane's 200s: most of all answers, and in a Counter each would cost 0.1 µs."""
        self._refusals: Counter[tuple[Code, int]] = Counter()
        """Refused events by code and app, before and after acceptance."""
        self.committed_events = 0
        self.spooled_events = 0
        self.replayed_events = 0
        self.dead_lettered_events = 0
        """Spooled, and then refused by Postgres: dead letters, in `rejected_events`."""
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

    def acknowledged(self, ack_s: float) -> None:
        """Count that all who waited for a committed batch have been told."""
        self._ack_seconds.observe(ack_s)

    @property
    def recovered_events(self) -> int:
        """Events found in the spool, left there by another process."""
        return self._spool.recovered_events if self._spool else 0

    @property
    def damaged_events(self) -> int:
        """Events that were spooled and that the disk then damaged."""
        return self._spool.newly_damaged_events if self._spool else 0

    @property
    def events_in_spool(self) -> int:
        """Events that are spooled and not yet replayed."""
        come = self.spooled_events + self.recovered_events
        return come - self.replayed_events - self.dead_lettered_events - self.damaged_events

    def refused(self, code: Code, app_id: int, events: int = 1) -> None:
        """Count events that their sender is told to be refused; every refusal comes by here.

        `app_id` is UNKNOWN_APP where no valid key was sent.
        """
        self._refusals[code, app_id] += events

    def refused_events(self, code: Code) -> int:
        """Return how many events of all apps were refused with a code."""
        return sum(events for (each, _), events in self._refusals.items() if each is code)

    def failed(self, code: Code, app_id: int, events: int = 1) -> None:
        """Count refused events that had been accepted."""
        self.refused(code, app_id, events)
        self.failed_events += events

    def attach(
        self,
        gauges: Gauges,
        spool: SpoolGauges | None,
        state: StateGauges,
    ) -> None:
        """Add what is read at a scrape, and the process's own figures."""
        self._spool = spool
        self.registry.register(_Reader(self, gauges, spool, state))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def expose(self, accept: str = "", accept_encoding: str = "") -> Exposition:
        """Return what a scrape with these headers is answered."""
        return expose(self.registry, accept, accept_encoding)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"nonito_{name}", text, buckets=buckets, registry=self.registry)


class _Reader:
    """A collector over the metrics and the gauges."""

    def __init__(
        self,
        metrics: Metrics,
        gauges: Gauges,
        spool: SpoolGauges | None,
        state: StateGauges,
    ) -> None:
        self._metrics = metrics
        self._gauges = gauges
        self._spool = spool
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """Yield every metric but the histograms."""
        metrics, gauges = self._metrics, self._gauges
        requests = CounterMetricFamily("nonito_requests", "Answers by status", labels=["status"])
        answers = metrics.answers + Counter({_OK: metrics.committed_answers})
        for status, count in sorted(answers.items()):
            requests.add_metric([str(status)], count)
        refused = CounterMetricFamily(
            "nonito_events_refused",
            "Refused events by code",
            labels=["code"],
        )
        for code in Code:
            refused.add_metric([code], metrics.refused_events(code))
        yield requests
        yield refused
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
        yield _gauge(
            "postgres_up", "Whether Postgres can be written to", self._state.is_postgres_up()
        )
        yield _gauge(
            "postgres_refusing_rows",
            "Whether Postgres, though up, has refused rows of late: see the log",
            self._state.is_refusing_rows(),
        )
        yield _gauge(
            "rejected_events",
            "Events in rejected_events, 100000 at most: see nonito rejected",
            self._state.rejected_events(),
        )
        yield _gauge("keys_loaded", "API keys in memory", self._state.keys())

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
            "events_dead_lettered",
            "Events of the spool that Postgres refused: see nonito rejected",
            metrics.dead_lettered_events,
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
