"""The collector: everything that a scrape is told, read at once between two turns of the loop.

Labels come from closed sets, or are bounded. Every series is there from the start, with 0: where
one begins at 1, Prometheus sees no step, and `increase()` misses it.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Final, NamedTuple, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)

from ingest import __version__
from ingest.errors import STATUS, Code
from ingest.observe.app_labels import OTHER_APP, AppLabels
from ingest.observe.histogram import Histogram
from ingest.observe.metrics import EVENT_ROUTE, ROUTES, Metrics

_OK: Final = 200
_STATUSES: Final = sorted({_OK, 202, 204, 207, 304, *STATUS.values()})


class Waiting(NamedTuple):
    """What waits in one queue."""

    events: int
    bytes: int


class QueueGauges(Protocol):
    """What is read of the queues at a scrape."""

    @property
    def accepted_by_app(self) -> Mapping[int, int]:
        """Events taken in since the start, by app; they only ever grow."""

    @property
    def unsettled_events(self) -> int:
        """Events in a queue or in a COPY."""

    @property
    def unsettled_bytes(self) -> int:
        """The size of the rows in a queue or in a COPY."""

    @property
    def waiting(self) -> Mapping[str, Waiting]:
        """What no writer has taken yet, by queue."""

    @property
    def waits_s(self) -> Histogram:
        """How long events were under way."""


class SpoolGauges(Protocol):
    """What is read of the spool at a scrape."""

    @property
    def bytes(self) -> int:
        """What the spool takes on disk."""

    @property
    def free_bytes(self) -> int:
        """What is free on that disk."""

    @property
    def has_room(self) -> bool:
        """Whether it takes a batch, by what is known."""

    @property
    def oldest_s(self) -> float:
        """The age of the oldest event in the spool."""


class State(NamedTuple):
    """What is asked of all other parts at a scrape."""

    is_postgres_up: bool
    is_refusing_rows: bool
    postgres_connections: int
    rejected_events: int
    partitions_ahead: int
    apps: Mapping[int, str]
    """Names by number: those that have valid keys."""
    keys: int
    connections: int
    connections_refused: int
    requests: int
    """Requests that are being handled."""


class Limits(NamedTuple):
    """What some of it is held to."""

    connections: int
    queue_events: int
    queue_bytes: int
    """Both in each queue."""
    spool_bytes: int
    spool_free_bytes: int
    partitions_ahead: int


class Collector:
    """What all of it is, as families of metrics."""

    def __init__(
        self,
        metrics: Metrics,
        queues: QueueGauges,
        spool: SpoolGauges | None,
        limits: Limits,
        state: Callable[[], State],
    ) -> None:
        self._metrics = metrics
        self._queues = queues
        self._spool = spool
        self._limits = limits
        self._state = state
        self._apps = AppLabels()

    def collect(self) -> Iterable[Metric]:
        """Yield every metric."""
        state = self._state()
        yield InfoMetricFamily(
            "nonito_build",
            "Which version serves, by which Python",
            {"version": __version__, "python": platform.python_version()},
        )
        yield self._requests()
        yield from self._listening(state)
        yield from self._events(state)
        yield from self._batches()
        yield from self._queued()
        yield from self._spooled()
        yield from self._postgres(state)

    def _requests(self) -> Metric:
        metrics = self._metrics
        answers = Counter(dict.fromkeys(product(ROUTES, _STATUSES), 0))
        answers.update(metrics.answers)
        answers[EVENT_ROUTE, _OK] += metrics.committed_answers
        family = CounterMetricFamily(
            "nonito_requests", "Answers by route and status", labels=["route", "status"]
        )
        for (route, status), count in sorted(answers.items()):
            family.add_metric([route, str(status)], count)
        return family

    def _listening(self, state: State) -> Iterable[Metric]:
        yield _gauge("requests_in_flight", "Requests that are being handled", state.requests)
        yield _gauge("connections_open", "Connections of clients", state.connections)
        yield _gauge("connections_limit", "As many may be open", self._limits.connections)
        yield _counter(
            "connections_refused",
            "Connections beyond the limit, closed at once",
            state.connections_refused,
        )
        yield self._metrics.loop_lag_s.family(
            "nonito_loop_lag_seconds", "How late the event loop is, looked at four times a second"
        )

    def _events(self, state: State) -> Iterable[Metric]:
        metrics, accepted = self._metrics, self._queues.accepted_by_app
        yield _counter("events_accepted", "Events taken into a queue", sum(accepted.values()))
        yield self._by_app(state.apps, accepted)
        yield _counter("events_committed", "Events committed at once", metrics.committed_events)
        yield _counter("events_failed", "Accepted events that were refused", metrics.failed_events)
        yield _counter(
            "events_duplicate", "Accepted events that were sent before", metrics.duplicate_events
        )
        refused = CounterMetricFamily(
            "nonito_events_refused", "Refused events by code", labels=["code"]
        )
        for code in Code:
            refused.add_metric([code], metrics.refused_events(code))
        yield refused
        yield _counter(
            "async_acks", "Requests answered before their event was durable", metrics.async_acks
        )
        yield _counter(
            "async_events_refused",
            "Events refused after their early answer",
            metrics.async_refused_events,
        )
        yield _gauge("keys_loaded", "API keys in memory", state.keys)

    def _by_app(self, apps: Mapping[int, str], accepted: Mapping[int, int]) -> Metric:
        self._apps.learn(apps)
        counts = Counter(dict.fromkeys((*self._apps.known, OTHER_APP), 0))
        for app_id, events in accepted.items():
            counts[self._apps.of(app_id)] += events
        family = CounterMetricFamily(
            "nonito_app_events_accepted", "Events taken into a queue, by app", labels=["app"]
        )
        for label, events in sorted(counts.items()):
            family.add_metric([label], events)
        return family

    def _batches(self) -> Iterable[Metric]:
        metrics = self._metrics
        yield metrics.batch_events.family("nonito_batch_events", "Events in a commit")
        yield metrics.commit_s.family(
            "nonito_commit_seconds", "Time from taking a batch to its commit"
        )
        yield self._queues.waits_s.family(
            "nonito_event_wait_seconds",
            "Time of each event from the queue to its answer; of a batch that of its first event",
        )

    def _queued(self) -> Iterable[Metric]:
        queues, limits = self._queues, self._limits
        yield _gauge("queue_events", "Events waiting or in a COPY", queues.unsettled_events)
        yield _gauge("queue_bytes", "The size of their rows", queues.unsettled_bytes)
        events = GaugeMetricFamily(
            "nonito_queue_waiting_events", "Events that wait for a COPY", labels=["queue"]
        )
        size = GaugeMetricFamily(
            "nonito_queue_waiting_bytes", "The size of their rows", labels=["queue"]
        )
        for name, waiting in queues.waiting.items():
            events.add_metric([name], waiting.events)
            size.add_metric([name], waiting.bytes)
        yield events
        yield size
        yield _gauge("queue_events_limit", "As many may wait in each queue", limits.queue_events)
        yield _gauge("queue_bytes_limit", "So large may their rows be", limits.queue_bytes)

    def _spooled(self) -> Iterable[Metric]:
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
        yield _gauge(
            "spool_has_room", "Whether it takes a batch", spool.has_room if spool else False
        )
        if spool is not None:
            yield from self._spool_disk(spool)

    def _spool_disk(self, spool: SpoolGauges) -> Iterable[Metric]:
        limits = self._limits
        yield _gauge("spool_bytes_limit", "So much it may take", limits.spool_bytes)
        yield _gauge("spool_free_bytes", "What is free on its disk", spool.free_bytes)
        yield _gauge(
            "spool_free_bytes_limit", "So much it leaves to others", limits.spool_free_bytes
        )

    def _postgres(self, state: State) -> Iterable[Metric]:
        yield _gauge("postgres_up", "Whether Postgres can be written to", state.is_postgres_up)
        yield _gauge(
            "postgres_refusing_rows",
            "Whether Postgres, though up, has refused rows of late: see the log",
            state.is_refusing_rows,
        )
        yield _gauge("postgres_connections", "Connections to Postgres", state.postgres_connections)
        yield _gauge(
            "rejected_events",
            "Events in rejected_events, 100000 at most: see nonito rejected",
            state.rejected_events,
        )
        yield _gauge(
            "partitions_ahead",
            "Partitions of events behind the one of now, without a gap",
            state.partitions_ahead,
        )
        yield _gauge(
            "partitions_ahead_target",
            "As many are made ahead",
            self._limits.partitions_ahead,
        )


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"nonito_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"nonito_{name}", text, value=value)
