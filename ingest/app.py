"""The composition root: what the server is made of, what starts and stops, and in which order."""

import asyncio
import gc
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import structlog
from aiohttp import hdrs, web

from ingest import config as settings
from ingest.config import Config
from ingest.delivery.intake import Intake
from ingest.delivery.pipeline import Pipeline, make_link
from ingest.errors import Code, Refusal, StartupError
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
from ingest.http.request_log import RequestLog
from ingest.http.router import Route, Router, ingestion
from ingest.http.waiters import EarlyAcks
from ingest.observe import collector, hangups, logs, loop_lag
from ingest.observe.collector import Collector
from ingest.observe.exposition import Exposer
from ingest.observe.metrics import Metrics
from ingest.spool import Spool, SpoolFailed, SpoolFull
from ingest.store import idempotency, identity, migrations
from ingest.store.api_key_snapshot import ApiKeySnapshot
from ingest.store.database_url import forget_unsearchable_home
from ingest.store.embedded import EmbeddedPostgres
from ingest.store.failures import Outage, Unavailable
from ingest.store.health import Health
from ingest.store.keyring import Keyring
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres
from ingest.store.rejected import RejectedCount
from ingest.web import pages
from ingest.web.figures import Figures

log = structlog.get_logger(__name__)

_ARRIVAL_TIMEOUT_S = 2.0
"""So long a stopping server waits for the rest of a request that has begun."""
_GC_THRESHOLDS = (20_000, 10, 10)
_REVIVE_INTERVAL_S = 1.0


def make_postgres(config: Config, url: str) -> Postgres:
    """Return the database that a configuration names; raise StartupError for no proper URL."""
    forget_unsearchable_home()
    return Postgres(
        url,
        connect_timeout_s=config.database.connect_timeout_s,
        commit_timeout_s=config.writer.commit_timeout_s,
    )


def _make_spool(spool: settings.Spool) -> Spool | None:
    if not spool.enabled:
        return None
    return Spool(
        Path(spool.path),
        bytes_max=spool.bytes_max,
        free_bytes_min=spool.free_bytes_min,
        timeout_s=spool.timeout_s,
    )


def make_partitions(config: Config, postgres: Postgres) -> Partitions:
    """Return the partitions that a configuration asks for."""
    events = config.events
    return Partitions(
        postgres,
        events.partition_by,
        events.partitions_ahead,
        per_hour_max=events.past_partitions_per_hour_max,
    )


async def prepare(postgres: Postgres, config: Config) -> None:
    """Bring the database to where the server can use it; raise StartupError."""
    await _prepare(postgres, make_partitions(config, postgres), config.database.start_timeout_s)


async def _prepare(postgres: Postgres, partitions: Partitions, timeout_s: float) -> None:
    await postgres.wait_until_up(timeout_s)
    try:
        await migrations.migrate(postgres)
        await partitions.ensure()
    except Unavailable as failure:
        raise StartupError(f"the database can't be prepared: {failure}") from failure


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
        queue_events=config.queue.events_max,
        queue_bytes=config.queue.bytes_max,
        spool_bytes=config.spool.bytes_max,
        spool_free_bytes=config.spool.free_bytes_min,
        partitions_ahead=config.events.partitions_ahead,
    )


class App:
    """One serving process: every part of it, put together."""

    def __init__(
        self,
        config: Config,
        postgres: Postgres,
        embedded: EmbeddedPostgres | None,
        reread: Callable[[], Config] | None = None,
    ) -> None:
        self._config = config
        self._postgres = postgres
        self._embedded = embedded
        self._reread = reread
        """Reads the configuration anew at SIGHUP; without it that signal is left as it is."""
        self._requests = RequestLog(config.log.requests)
        self._spool = _make_spool(config.spool)
        self._metrics = Metrics(self._spool)
        self._partitions = make_partitions(config, postgres)
        self._keyring = Keyring(
            postgres,
            poll_interval_s=config.keys.poll_interval_s,
            snapshot=ApiKeySnapshot(Path(config.spool.path)) if self._spool else None,
        )
        self._probe_link = make_link(postgres)
        self._health = Health(self._probe_link, self._prepare_late)
        self._pipeline = Pipeline(
            postgres,
            self._health,
            self._partitions,
            self._spool,
            self._metrics,
            queue=config.queue,
            writer=config.writer,
        )
        intake = Intake(
            self._pipeline.queues,
            event_name_chars_max=config.limits.event_name_chars_max,
            span=_make_span(config.events),
            has_partition=self._partitions.map.covers_lately,
        )
        self._early_acks = EarlyAcks(self._metrics)
        exposer = Exposer(
            Collector(
                self._metrics, self._pipeline.queues, self._spool, _limits(config), self._state
            )
        )
        self._probes = Probes(self._health, self._pipeline.fallback, self._metrics, exposer)
        self._monitor: Monitor | None = None
        if config.metrics.port:
            routes = self._probes.all_routes()
            self._monitor = Monitor(config.metrics, routes, self._metrics, config.limits)
        self._router = Router(self._make_routes(intake), self._metrics, self._requests)
        budget = Budget(config.limits.bodies_bytes_max)
        self._listener = Listener(
            web.Server(self._router.dispatch),
            config.limits,
            self._metrics,
            budget,
            self._requests,
        )
        self._fast_lane: FastLane | None = None
        if config.server.fast_lane:
            self._fast_lane = FastLane(
                intake,
                self._keyring,
                self._metrics,
                self._listener.make_connection,
                budget,
                limits=config.limits,
            )
            self._fast_lane.log_to(self._requests)
            self._listener.put_before(self._fast_lane)
        self._rejected = RejectedCount(postgres)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_prepared = False
        self._stop = asyncio.Event()
        self._skip_drain = asyncio.Event()
        self._failed = False

    def _make_routes(self, intake: Intake) -> Mapping[str, Route]:
        """Return what is served, by path."""
        limits, server = self._config.limits, self._config.server
        bodies = BodyReader(limits.body_timeout_s)
        parts = (bodies, self._early_acks, self._metrics)
        in_header = Authenticator(self._keyring)
        anywhere = Authenticator(self._keyring, key_in_query=server.key_in_query)
        event = EventRoute(intake, anywhere, *parts, body_bytes_max=limits.body_bytes_max)
        batch = BatchRoute(intake, in_header, *parts, limits)
        documents = pages.routes(_make_figures(self._config))
        return {
            **{path: Route(methods) for path, methods in documents.items()},
            "/": Route({**documents["/"], hdrs.METH_OPTIONS: self._probes.options_root}),
            "/event": ingestion(event.post),
            "/events": ingestion(batch.post),
            **(self._probes.routes() if self._monitor else self._probes.all_routes()),
        }

    @property
    def keys(self) -> int:
        """Return how many API keys are known."""
        return len(self._keyring)

    async def read_keys(self) -> None:
        """Know the keys of this moment without waiting to be told; raise Unavailable."""
        await self._keyring.load()

    async def open(self) -> None:
        """Open the spool, which knows which database is meant; raise StartupError.

        To be done before anything else, so that nothing of another database is touched.
        """
        if self._monitor is not None:
            self._monitor.bind()
        if self._spool is not None:
            await self._spool.open()
            self._postgres.database_id = self._spool.database_id

    async def run(self, bound: socket.socket, when_ready: Callable[[], Awaitable[None]]) -> bool:
        """Serve on a bound socket until SIGTERM or SIGINT; return whether it ended in good order.

        `open` comes first. Raises StartupError.
        """
        loop = asyncio.get_running_loop()
        await self._begin()
        self._start_tasks()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        await self._listen(bound)
        if self._monitor is not None:
            await self._monitor.open()
        await when_ready()
        if not len(self._keyring):
            log.warning("no API keys yet", mend="nonito keys create --app NAME")
        # Collected once and set aside; then rarely: a request leaves no cycles behind.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        await self._stop.wait()
        await self._drain()
        await self._finish()
        await self._let_go()
        return not self._failed

    async def _listen(self, bound: socket.socket) -> None:
        """Take connections; raise StartupError where another server has taken the port by now."""
        try:
            await self._listener.listen(bound)
        except OSError as error:
            host, port = bound.getsockname()[:2]
            raise StartupError(f"can't listen on {host}:{port}: {error.strerror}") from error

    async def _begin(self) -> None:
        """Get Postgres ready; without it, begin with the keys known last and spool."""
        if not await self._keyring.recall():
            # Never seen: more likely a mistake in the configuration than an outage.
            timeout_s = self._config.database.start_timeout_s
            await _prepare(self._postgres, self._partitions, timeout_s)
            await self._identify()
            self._is_prepared = True
            await self._connect()
            return
        if self._postgres.database_id is not None:
            await self._claim(self._postgres.database_id)
        try:
            await self._migrate()
            await self._connect()
        except Unavailable as failure:
            if failure.is_lasting:
                raise StartupError(str(failure)) from None
            self._health.report(failure)
            log.warning(
                "starting without Postgres: events are spooled",
                reason=failure.reason,
                text=failure.text,
            )

    async def _migrate(self) -> None:
        """Bring the database to where the server can use it; raise Unavailable or StartupError."""
        await migrations.migrate(self._postgres)
        await self._partitions.ensure()
        await self._identify()
        self._is_prepared = True

    async def _identify(self) -> None:
        """Find out which database this is, and have it to ourselves; raise Unavailable.

        A spool without an owner becomes its own now. From then on no other one will do.
        """
        async with self._postgres.session() as connection:
            found = await self._postgres.identify(connection)
            if found is None:
                raise StartupError(identity.MISSING)
            await self._claim(found)
            self._postgres.require(found)

    async def _claim(self, database_id: UUID) -> None:
        """Make the spool a database's, or see whose it is instead; raise StartupError."""
        self._postgres.database_id = database_id
        if self._spool is not None:
            try:
                self._postgres.database_id = await self._spool.claim(database_id)
            except (SpoolFull, SpoolFailed) as failed:
                raise StartupError(f"the spool can't be used: {failed}") from failed

    async def _prepare_late(self) -> None:
        """Migrate once, for a server that started without Postgres; raise Unavailable."""
        if self._is_prepared:
            return
        try:
            await self._migrate()
        except StartupError as error:  # such as a newer schema: an operator's to mend, and spooled
            raise Unavailable(str(error), stored=False, outage=Outage.FAILING) from error

    async def _connect(self) -> None:
        await self._keyring.load()
        await self._probe_link.open()
        await self._pipeline.open()

    def _start_tasks(self) -> None:
        for name, work in self._pipeline.tasks():
            self._own(name, work)
        self._own("health", self._health.run())
        self._own("keyring", self._keyring.run())
        self._own("sweep", self._listener.run())
        self._own("partitions", self._partitions.run())
        self._own("rejected events", self._rejected.run())
        self._own("loop lag", loop_lag.watch(self._metrics.loop_lag_s))
        if self._spool is not None:
            self._own("spool figures", self._spool.watch())
        self._own("idempotency keys", idempotency.run(self._postgres))
        if self._monitor is not None:
            self._own("sweep of the monitor", self._monitor.run())
        if self._reread is not None:
            self._own("hangups", hangups.run(self._reread, self._follow))
        if self._embedded is not None:
            self._own("embedded", self._keep_embedded(self._embedded))

    def _follow(self, config: Config) -> None:
        """Do as a configuration says that was read anew, as far as that is possible."""
        logs.set_level(config.log.level)
        self._requests.lines_per_s_max = config.log.requests
        log.info("settings of the log read anew", **msgspec.structs.asdict(config.log))

    def _state(self) -> collector.State:
        """Return what a scrape is told of all parts, as it is now."""
        return collector.State(
            is_postgres_up=self._health.is_up,
            is_refusing_rows=bool(self._health.row_alarm.reason),
            postgres_connections=self._postgres.open_connections,
            rejected_events=self._rejected.events,
            partitions_ahead=self._partitions.map.ahead(time.time_ns() // 1_000_000),
            apps=self._keyring.apps,
            keys=len(self._keyring),
            connections=self._listener.open_connections,
            connections_refused=self._listener.refused_connections,
            requests=self._listener.requests_in_flight,
        )

    def _own(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a background task that must not end; if it does, the server stops and says so."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_ended)
        self._tasks.append(task)

    def _on_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        log.critical(
            "a background task ended; stopping", task=task.get_name(), exc_info=task.exception()
        )
        self._failed = True
        self._stop.set()
        self._skip_drain.set()

    async def _keep_embedded(self, embedded: EmbeddedPostgres) -> None:
        while True:
            await asyncio.sleep(_REVIVE_INTERVAL_S)
            if not self._health.is_up:
                try:
                    await asyncio.to_thread(embedded.revive)
                except StartupError as error:
                    log.error("the embedded Postgres does not start", reason=str(error))  # noqa: TRY400

    def _on_signal(self) -> None:
        """Stop; whoever says so twice does not want to wait for the drain."""
        (self._skip_drain if self._stop.is_set() else self._stop).set()

    async def _drain(self) -> None:
        """Serve on for a while and say so: a proxy that has seen it comes here no more."""
        drain_s = self._config.server.drain_s
        if drain_s > 0:
            log.info("draining", drain_s=drain_s)
        for part in (self._probes, self._router, self._fast_lane):
            if part is not None:
                part.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._skip_drain.wait()

    async def _finish(self) -> None:
        """Listen no more, settle what is queued, and answer everybody."""
        await self._listener.stop_listening()
        timeout_s = self._config.server.shutdown_timeout_s
        arrival_s = min(_ARRIVAL_TIMEOUT_S, timeout_s / 2)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._listener.end_arrivals(arrival_s)
                log.info("stopping", events=self._pipeline.queues.unsettled_events)
                self._early_acks.stop()
                self._pipeline.queues.close()
                await self._pipeline.queues.drain()
                await self._listener.end_arrivals(arrival_s)
                await self._listener.finish()
        self._pipeline.queues.refuse_all(
            Refusal(
                Code.DATABASE_ERROR,
                "The server stopped before the database confirmed the event; "
                "it may or may not be stored.",
            )
        )
        await asyncio.sleep(0)  # the requests just refused write their answers

    async def _let_go(self) -> None:
        """End every task, close every connection, to clients and to Postgres, and the spool."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.close()
        await asyncio.gather(self._probe_link.close(), self._pipeline.close())
        if self._spool is not None:
            await self._spool.close()
        if self._monitor is not None:
            await self._monitor.close()
        log.info("stopped", committed=self._metrics.committed_events)
