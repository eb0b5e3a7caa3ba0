"""The composition root: what the server is made of, what starts and stops, and in which order."""

import asyncio
import gc
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from aiohttp import web

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
from ingest.http.probes import Probes
from ingest.http.router import Route, Router, ingestion
from ingest.http.waiters import EarlyAcks
from ingest.observe.metrics import Metrics, StateGauges
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

_BACKLOG = 2048
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
    )


class App:
    """One serving process: every part of it, put together."""

    def __init__(
        self, config: Config, postgres: Postgres, embedded: EmbeddedPostgres | None
    ) -> None:
        self._config = config
        self._postgres = postgres
        self._embedded = embedded
        self._metrics = Metrics()
        self._spool = _make_spool(config.spool)
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
        self._probes = Probes(self._health, self._pipeline.fallback, self._metrics)
        self._router = Router(self._make_routes(intake), self._metrics)
        budget = Budget(config.limits.bodies_bytes_max)
        self._listener = Listener(
            web.Server(self._router.dispatch), config.limits, self._metrics, budget
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
            self._listener.put_before(self._fast_lane)
        self._rejected = RejectedCount(postgres)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_prepared = False
        self._stop = asyncio.Event()
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
            "/event": ingestion(event.post),
            "/events": ingestion(batch.post),
            **self._probes.routes(),
        }

    async def open(self) -> None:
        """Open the spool, which knows which database is meant; raise StartupError.

        To be done before anything else, so that nothing of another database is touched.
        """
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
            loop.add_signal_handler(number, self._stop.set)
        server = await loop.create_server(self._listener, sock=bound, backlog=_BACKLOG)
        await when_ready()
        if not len(self._keyring):
            log.warning("no API keys yet", mend="nonito keys create --app NAME")
        # Collected once and set aside; then rarely: a request leaves no cycles behind.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        await self._stop.wait()
        await self._shut_down(server)
        return not self._failed

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
        state = StateGauges(
            is_postgres_up=lambda: self._health.is_up,
            is_refusing_rows=lambda: bool(self._health.row_alarm.reason),
            rejected_events=lambda: self._rejected.events,
            keys=lambda: len(self._keyring),
        )
        self._metrics.attach(self._pipeline.queues, self._spool, state)
        for name, work in self._pipeline.tasks():
            self._own(name, work)
        self._own("health", self._health.run())
        self._own("keyring", self._keyring.run())
        self._own("sweep", self._listener.run())
        self._own("partitions", self._partitions.run())
        self._own("rejected events", self._rejected.run())
        self._own("idempotency keys", idempotency.run(self._postgres))
        if self._embedded is not None:
            self._own("embedded", self._keep_embedded(self._embedded))

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

    async def _keep_embedded(self, embedded: EmbeddedPostgres) -> None:
        while True:
            await asyncio.sleep(_REVIVE_INTERVAL_S)
            if not self._health.is_up:
                try:
                    await asyncio.to_thread(embedded.revive)
                except StartupError as error:
                    log.error("the embedded Postgres does not start", reason=str(error))  # noqa: TRY400

    async def _shut_down(self, server: asyncio.Server) -> None:
        """Stop accepting, settle what is queued, answer everybody, and let go of everything."""
        log.info("stopping", events=self._pipeline.queues.unsettled_events)
        for part in (self._router, self._probes, self._early_acks):
            part.stop()
        if self._fast_lane is not None:
            self._fast_lane.stop()
        self._pipeline.queues.close()
        server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.server.shutdown_timeout_s):
                await self._pipeline.queues.drain()
                await self._listener.finish()
        self._pipeline.queues.refuse_all(
            Refusal(
                Code.DATABASE_ERROR,
                "The server stopped before the database confirmed the event; "
                "it may or may not be stored.",
            )
        )
        await asyncio.sleep(0)  # the requests just refused write their answers
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.close()
        await asyncio.gather(self._probe_link.close(), self._pipeline.close())
        if self._spool is not None:
            await self._spool.close()
        log.info("stopped", committed=self._metrics.committed_events)
