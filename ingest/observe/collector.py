"""The collector: everything that a scrape is told, of all processes of the server together.

Labels come from closed sets, or are bounded. Every series is there from the start, with 0: where
one begins at 1, Prometheus sees no step, and `increase()` misses it.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)

from ingest import __version__
from ingest.observe.counts import Counts
from ingest.observe.gauges import QUEUES, Gauges, merge
from ingest.observe.insights import InsightsGauges
from ingest.observe.processes import Processes
from ingest.observe.publisher import PLACES
from ingest.share.segment import Reading, Segment

OTHER_APP: Final = "other"


class Limits(NamedTuple):
    """What some of it is held to, of the whole server."""

    connections: int
    spool_bytes: int
    spool_free_bytes: int
    partitions_ahead: int


class Collector:
    """What all of it is, as families of metrics."""

    def __init__(
        self, segment: Segment, limits: Limits, publish: Callable[[], None], *, has_spool: bool
    ) -> None:
        """Read what the processes of a segment publish; `publish` is this one's part of it."""
        self._segment = segment
        self._limits = limits
        self._publish = publish
        self._has_spool = has_spool
        self._processes = Processes(segment.maker, segment.made_s)

    def collect(self) -> Iterable[Metric]:
        """Yield every metric. Nothing is told that is not published: it might be taken back."""
        self._publish()
        reading = self._segment.read()
        counts = Counts(reading.counts)
        gauges = merge(
            [Gauges(*each.figures.gauges) for each in reading.live if each.figures.gauges]
        )
        yield InfoMetricFamily(
            "nonito_build",
            "Which version serves, by which Python",
            {"version": __version__, "python": platform.python_version()},
        )
        yield _requests(counts)
        yield from self._listening(counts, gauges)
        yield from self._events(counts, gauges)
        yield _left(reading)
        yield from _batches(counts)
        yield from _queued(gauges)
        yield from self._spooled(counts, gauges)
        yield from self._postgres(gauges)
        yield from _retention(counts, gauges)
        yield from self._workers(reading)
        yield from _insights(reading)
        yield from self._processes.collect(reading, counts["cpu_us"])

    def _listening(self, counts: Counts, gauges: Gauges) -> Iterable[Metric]:
        yield _gauge("requests_in_flight", "Requests that are being handled", gauges.requests)
        yield _gauge("connections_open", "Connections of clients", gauges.connections)
        yield _gauge("connections_limit", "As many may be open", self._limits.connections)
        yield _counter(
            "connections_refused",
            "Connections beyond the limit, closed at once",
            counts["refused_connections"],
        )
        yield counts.histograms["loop_lag_s"].family(
            "nonito_loop_lag_seconds", "How late the event loop is, looked at four times a second"
        )

    def _events(self, counts: Counts, gauges: Gauges) -> Iterable[Metric]:
        yield _counter("events_accepted", "Events taken into a queue", sum(counts.accepted))
        yield self._by_app(counts)
        yield _counter("events_committed", "Events committed at once", counts["committed_events"])
        yield _counter(
            "events_failed", "Accepted events that were refused", counts["failed_events"]
        )
        yield _counter(
            "events_duplicate", "Accepted events that were sent before", counts["duplicate_events"]
        )
        refused = CounterMetricFamily(
            "nonito_events_refused", "Refused events by code", labels=["code"]
        )
        for code, events in counts.refusals.items():
            refused.add_metric([code], events)
        yield refused
        yield _counter(
            "async_acks", "Requests answered before their event was durable", counts["async_acks"]
        )
        yield _counter(
            "async_events_refused",
            "Events refused after their early answer",
            counts["async_refused_events"],
        )
        yield _gauge("keys_loaded", "API keys in memory", gauges.keys)

    def _by_app(self, counts: Counts) -> Metric:
        texts = self._segment.labels.texts
        events_of = Counter({OTHER_APP: 0})
        for place, events in enumerate(counts.accepted):
            events_of[texts[place] if place < len(texts) else OTHER_APP] += events
        family = CounterMetricFamily(
            "nonito_app_events_accepted", "Events taken into a queue, by app", labels=["app"]
        )
        for label, events in sorted(events_of.items()):
            family.add_metric([label], events)
        return family

    def _spooled(self, counts: Counts, gauges: Gauges) -> Iterable[Metric]:
        yield _counter("events_spooled", "Events put into the spool", counts["spooled_events"])
        yield _counter("events_recovered", "Events found in the spool", counts["recovered_events"])
        yield _counter(
            "events_replayed",
            "Events brought from the spool to Postgres",
            counts["replayed_events"],
        )
        yield _counter(
            "events_dead_lettered",
            "Events of the spool that Postgres refused: see nonito rejected",
            counts["dead_lettered_events"],
        )
        yield _counter(
            "events_damaged", "Events that the spool's disk damaged", counts["damaged_events"]
        )
        yield _gauge("spool_events", "Events in the spool", gauges.spool_events)
        yield _gauge("spool_bytes", "What the spool takes on disk", gauges.spool_bytes)
        yield _gauge("spool_oldest_seconds", "The age of its oldest event", gauges.spool_oldest_s)
        yield _gauge("spool_has_room", "Whether it takes a batch", gauges.spool_has_room)
        if self._has_spool:
            yield from self._spool_disk(gauges)

    def _spool_disk(self, gauges: Gauges) -> Iterable[Metric]:
        limits = self._limits
        yield _gauge("spool_bytes_limit", "So much it may take", limits.spool_bytes)
        yield _gauge("spool_free_bytes", "What is free on its disk", gauges.spool_free_bytes)
        yield _gauge(
            "spool_free_bytes_limit", "So much it leaves to others", limits.spool_free_bytes
        )

    def _postgres(self, gauges: Gauges) -> Iterable[Metric]:
        yield _gauge("postgres_up", "Whether Postgres can be written to", gauges.is_postgres_up)
        yield _gauge(
            "postgres_refusing_rows",
            "Whether Postgres, though up, has refused rows of late: see the log",
            gauges.is_refusing_rows,
        )
        yield _gauge(
            "postgres_nodes_away",
            "Nodes of Citus that let nobody in: their apps' events wait",
            gauges.nodes_away,
        )
        yield _gauge("postgres_connections", "Connections to Postgres", gauges.postgres_connections)
        yield _gauge(
            "rejected_events",
            "Events in rejected_events, 100000 at most: see nonito rejected",
            gauges.rejected_events,
        )
        yield _gauge(
            "partitions_ahead",
            "Partitions of events behind the one of now, without a gap",
            gauges.partitions_ahead,
        )
        yield _gauge(
            "partitions_ahead_target",
            "As many are made ahead",
            self._limits.partitions_ahead,
        )

    def _workers(self, reading: Reading) -> Iterable[Metric]:
        """Yield what each has by itself; it and its successor together while both are there."""
        up = _by_worker("up", "Whether it serves")
        connections = _by_worker("connections_open", "Its connections of clients")
        lag_s = _by_worker("loop_lag_seconds", "How late its event loop was at most in ten seconds")
        restarts = CounterMetricFamily(
            "nonito_worker_restarts", "How often it ended without being told", labels=["worker"]
        )
        for worker in range(self._segment.workers):
            each = [
                Gauges(*live.figures.gauges)
                for live in reading.live
                if live.worker == worker and live.figures.gauges
            ]
            up.add_metric([str(worker)], bool(each))
            connections.add_metric([str(worker)], sum(one.connections for one in each))
            lag_s.add_metric([str(worker)], max((one.loop_lag_s for one in each), default=0))
            restarts.add_metric([str(worker)], reading.restarts[worker])
        yield from (up, connections, lag_s, restarts)


def _requests(counts: Counts) -> Metric:
    family = CounterMetricFamily(
        "nonito_requests", "Answers by route and status", labels=["route", "status"]
    )
    for (route, status), count in counts.answers.items():
        family.add_metric([route, str(status)], count)
    return family


def _left(reading: Reading) -> Metric:
    family = CounterMetricFamily(
        "nonito_events_left",
        "Events of workers that ended: in a spool, where others recover them; in a queue, in doubt",
        labels=["place"],
    )
    for place, events in zip(PLACES, reading.ended.left or (0, 0), strict=True):
        family.add_metric([place], events)
    return family


def _batches(counts: Counts) -> Iterable[Metric]:
    histograms = counts.histograms
    yield histograms["batch_events"].family("nonito_batch_events", "Events in a commit")
    yield histograms["commit_s"].family(
        "nonito_commit_seconds", "Time from taking a batch to its commit"
    )
    yield histograms["wait_s"].family(
        "nonito_event_wait_seconds",
        "Time of each event from the queue to its answer; of a batch that of its first event",
    )


def _queued(gauges: Gauges) -> Iterable[Metric]:
    yield _gauge("queue_events", "Events waiting or in a COPY", gauges.queue_events)
    yield _gauge("queue_bytes", "The size of their rows", gauges.queue_bytes)
    events = GaugeMetricFamily(
        "nonito_queue_waiting_events", "Events that wait for a COPY", labels=["queue"]
    )
    size = GaugeMetricFamily(
        "nonito_queue_waiting_bytes", "The size of their rows", labels=["queue"]
    )
    for queue in QUEUES:
        waiting = gauges.waiting(queue)
        events.add_metric([queue], waiting.events)
        size.add_metric([queue], waiting.bytes)
    yield events
    yield size
    yield _gauge("queue_events_limit", "As many may wait in each queue", gauges.queue_events_limit)
    yield _gauge("queue_bytes_limit", "So large may their rows be", gauges.queue_bytes_limit)


def _retention(counts: Counts, gauges: Gauges) -> Iterable[Metric]:
    yield _counter(
        "retention_partitions_dropped",
        "Partitions that went as all in them was older than it is kept",
        counts["dropped_partitions"],
    )
    yield _counter(
        "retention_events",
        "Events that went with them, by Postgres's estimate, or by themselves",
        counts["expired_events"],
    )
    yield _gauge(
        "retention_next_drop_timestamp_seconds",
        "When the next partition goes, as a Unix time; 0 for never",
        gauges.retention_next_drop_s,
    )
    yield _gauge(
        "retention_waiting",
        "Whether something is to go and can't: see nonito retention",
        gauges.is_retention_waiting,
    )


def _insights(reading: Reading) -> Iterable[Metric]:
    """Yield how the archive is, by the insights process that began last; zeros without one."""
    found = [each.figures.insights for each in reading.live if each.figures.insights]
    gauges = InsightsGauges(*found[-1]) if found else InsightsGauges()
    yield _gauge("insights_up", "Whether the insights process runs", bool(found))
    yield _counter(
        "insights_restarts", "How often it ended without being told", reading.insights_restarts
    )
    yield _gauge("insights_questions", "Questions that are being answered", gauges.questions)
    yield _gauge("archive_lag_seconds", "How old what is not in the archive may be", gauges.lag_s)
    yield _gauge("archive_files", "Files of the archive", gauges.files)
    yield _gauge("archive_bytes", "What they take on disk", gauges.bytes)
    yield _gauge("archive_events", "Events in them", gauges.events)
    yield _gauge("archive_tail_events", "Events that are not in them yet", gauges.tail_events)


def _by_worker(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"nonito_worker_{name}", text, labels=["worker"])


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"nonito_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"nonito_{name}", text, value=value)
