"""The parts of a server, put together: from the database up to what listens."""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from aiohttp import hdrs, web

from ingest import config as settings
from ingest.app.database import make_partitions, make_retention
from ingest.app.duties import Duties, Duty
from ingest.app.preparation import Preparation
from ingest.config import Config
from ingest.delivery.aside import Aside
from ingest.delivery.intake import Intake
from ingest.delivery.links import Links
from ingest.delivery.pipeline import Pipeline, Task
from ingest.events.client_fields import Span
from ingest.http.authentication import Authenticator
from ingest.http.batch_route import BatchRoute
from ingest.http.bodies import BodyReader
from ingest.http.budget import Budget
from ingest.http.event_route import EventRoute
from ingest.http.fastlane import FastLane
from ingest.http.listener import Listener
from ingest.http.monitor import Monitor
from ingest.http.probes import Probes
from ingest.http.protocols import paths as sdk_paths
from ingest.http.protocols.route import SdkRoute
from ingest.http.request_log import RequestLog
from ingest.http.router import Route, Router, ingestion
from ingest.http.turns import Turns
from ingest.http.waiters import EarlyAcks
from ingest.metering.meters import Meters
from ingest.observe import collector
from ingest.observe.collector import Collector
from ingest.observe.exposition import Exposer
from ingest.observe.gauges import State, Waiting
from ingest.observe.metrics import Metrics
from ingest.observe.publisher import Publisher
from ingest.share.member import KeyNotes, Member
from ingest.spool import Spool
from ingest.store import idempotency, upkeep
from ingest.store.api_key_snapshot import ApiKeySnapshot
from ingest.store.day_uses import DayUses
from ingest.store.health import Health
from ingest.store.keyring import Keyring
from ingest.store.last_uses import LastUses
from ingest.store.postgres import Postgres
from ingest.store.rejected import RejectedCount
from ingest.web import pages
from ingest.web.figures import Figures


class Parts:
    """What one serving process is made of; nothing of it has begun."""

    def __init__(self, config: Config, postgres: Postgres, member: Member | None = None) -> None:
        """Put them together; without a `member` this process is all of the server."""
        self._config = config
        self.postgres = postgres
        self.member = member or Member.alone()
        self._make_store()
        self.pipeline = Pipeline(
            postgres,
            self.links,
            self.health,
            self.partitions,
            self.spool,
            self.metrics,
            queue=config.queue,
            writer=config.writer,
        )
        self.pipeline.queues.plain.may_pair = self.member.segment.workers == 1
        self.pipeline.fallback.reserve.processes = self.member.segment.workers
        self.early_acks = EarlyAcks(self.metrics)
        self._make_http()

    def _make_store(self) -> None:
        config, postgres = self._config, self.postgres
        self.spool = _make_spool(config.spool, self.member.key_notes)
        self.metrics = Metrics(self.spool)
        self.partitions = make_partitions(config, postgres)
        self.preparation = Preparation(postgres, self.partitions, self.spool)
        self.meters = Meters(self.member)
        self.keyring = Keyring(
            postgres,
            meters=self.meters,
            poll_interval_s=config.keys.poll_interval_s,
            snapshot=ApiKeySnapshot(Path(config.spool.path)) if self.spool else None,
            generation=self.member.keys_generation,
        )
        self.last_uses = LastUses(postgres, self.keyring.take_used)
        self.links = Links(postgres, self.partitions.map, writers=config.writer.connections)
        self.health = Health(self.links.idle, self.preparation.prepare_late)
        self.rejected = RejectedCount(postgres)
        self.retention = make_retention(config, postgres, self.metrics.expired)
        self.duties = Duties(postgres.turns.duties, self._duties())

    def _duties(self) -> Mapping[str, Duty]:
        """Return what one process of a server does, by name."""
        return {
            "keyring": self.keyring.run,
            "partitions": self.partitions.run,
            "rejected events": self.rejected.run,
            "idempotency keys": partial(idempotency.run, self.postgres),
            "schema": partial(upkeep.run, self.postgres),
            "retention": self.retention.run,
            "day uses": DayUses(self.postgres, self.meters).run,
        }

    def followers(self) -> Iterator[Task]:
        """Yield what a process does to know what the one knows that does the duties."""
        if self.postgres.turns.is_shared:
            yield "keys of others", self.keyring.follow()
            yield "partitions of others", self.partitions.follow()

    def _make_http(self) -> None:
        config, limits = self._config, self._config.limits
        intake = Intake(
            self.pipeline.queues,
            event_name_chars_max=limits.event_name_chars_max,
            span=_make_span(config.events),
            has_partition=self.partitions.map.covers_lately,
        )
        self._make_probes()
        self.requests = RequestLog(config.log.requests)
        self.router = Router(
            self._make_routes(intake),
            self.metrics,
            self.requests,
            sdk_paths.patterns(config.server.protocols),
        )
        budget = Budget(limits.bodies_bytes_max)
        self.listener = Listener(
            web.Server(self.router.dispatch), limits, self.metrics, budget, self.requests
        )
        self.listener.share_limit(self.member.crowd)
        self.fast_lane: FastLane | None = None
        if config.server.fast_lane:
            self.fast_lane = FastLane(
                intake,
                self.keyring,
                self.metrics,
                self.listener.make_connection,
                budget,
                limits=limits,
            )
            self.fast_lane.log_to(self.requests)
            self.listener.put_before(self.fast_lane)

    def _make_probes(self) -> None:
        config, queues = self._config, self.pipeline.queues
        limits = Waiting(config.queue.events_max, config.queue.bytes_max)
        self.publisher = Publisher(self.member, self.metrics, queues, self.spool, self, limits)
        queues.on_settled(self.publisher.note_batch)
        self.keyring.on_change(self.publisher.forget_apps)
        metrics = Collector(
            self.member.segment,
            _limits(config),
            self.publisher.look,
            has_spool=self.spool is not None,
        )
        self.probes = Probes(
            self.health,
            self.pipeline.fallback,
            self.publisher.events_in_spool,
            Exposer(metrics),
        )
        self.monitor: Monitor | None = None
        if config.metrics.port:
            routes = self.probes.all_routes()
            self.monitor = Monitor(config.metrics, routes, self.metrics, config.limits)

    def _make_routes(self, intake: Intake) -> Mapping[str, Route]:
        """Return what is served, by path."""
        limits, server = self._config.limits, self._config.server
        bodies = BodyReader(limits.body_timeout_s)
        parts = (bodies, self.early_acks, self.metrics)
        turns = Turns()
        in_header = Authenticator(self.keyring)
        anywhere = Authenticator(self.keyring, key_in_query=server.key_in_query)
        event = EventRoute(
            intake, anywhere, *parts, turns=turns, body_bytes_max=limits.body_bytes_max
        )
        batch = BatchRoute(intake, in_header, *parts, limits, turns=turns)
        aside = Aside(self.postgres)
        sdk = SdkRoute(intake, in_header, bodies, aside, self.metrics, limits, turns=turns)
        documents = pages.routes(_make_figures(self._config))
        return {
            **{path: Route(methods) for path, methods in documents.items()},
            "/": Route({**documents["/"], hdrs.METH_OPTIONS: self.probes.options_root}),
            "/event": ingestion(event.post),
            "/events": ingestion(batch.post),
            **sdk_paths.routes(sdk, server.protocols),
            **(self.probes.routes() if self.monitor else self.probes.all_routes()),
        }

    def _partitions_ahead(self) -> int:
        """Return what the process knows that makes them; of the others -1, so the most is right."""
        if not self.duties.are_ours:
            return -1
        return self.partitions.map.ahead(time.time_ns() // 1_000_000)

    def state(self) -> State:
        """Return what is published of all parts, as it is now."""
        return State(
            is_postgres_up=self.health.is_up,
            is_refusing_rows=bool(self.health.row_alarm.reason),
            nodes_away=self.pipeline.nodes_away,
            postgres_connections=self.postgres.open_connections,
            rejected_events=self.rejected.events,
            retention_next_drop_s=self.retention.figures.next_drop_s,
            is_retention_waiting=self.retention.figures.is_waiting,
            partitions_ahead=self._partitions_ahead(),
            keys=len(self.keyring),
            connections=self.listener.open_connections,
            requests=self.listener.requests_in_flight,
        )

    @property
    def apps(self) -> Mapping[int, str]:
        """The names of apps that have valid keys."""
        return self.keyring.apps

    @property
    def refused_connections(self) -> int:
        """Connections of clients past the limit."""
        return self.listener.refused_connections


def _make_spool(spool: settings.Spool, notes: KeyNotes) -> Spool | None:
    if not spool.enabled:
        return None
    return Spool(
        Path(spool.path),
        notes=notes,
        bytes_max=spool.bytes_max,
        free_bytes_min=spool.free_bytes_min,
        timeout_s=spool.timeout_s,
    )


def _make_span(events: settings.Events) -> Span:
    past_ms = events.timestamp_past_days_max * 86_400_000
    return Span(past_ms, int(events.timestamp_future_s_max * 1000))


def _make_figures(config: Config) -> Figures:
    return Figures(
        event_name_chars_max=config.limits.event_name_chars_max,
        body_bytes_max=config.limits.body_bytes_max,
        batch_events_max=config.limits.batch_events_max,
        batch_bytes_max=config.limits.batch_bytes_max,
        timestamp_past_days_max=config.events.timestamp_past_days_max,
        timestamp_future_s_max=config.events.timestamp_future_s_max,
        key_in_query=config.server.key_in_query,
        has_metrics=not config.metrics.port,
    )


def _limits(config: Config) -> collector.Limits:
    return collector.Limits(
        connections=config.limits.connections_max,
        spool_bytes=config.spool.bytes_max,
        spool_free_bytes=config.spool.free_bytes_min,
        partitions_ahead=config.events.partitions_ahead,
    )
