"""The life of a serving process: it begins, serves until it is told to stop, and ends."""

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from ingest.app.background import Background
from ingest.app.parts import Parts
from ingest.config import RETIRE_S, Config
from ingest.errors import Code, Refusal, StartupError
from ingest.observe import loop_lag
from ingest.share.member import Member
from ingest.store.failures import Unavailable
from ingest.store.postgres import Postgres

log = structlog.get_logger(__name__)

_ARRIVAL_TIMEOUT_S: Final = 2.0
"""So long a stopping server waits for the rest of a request that has begun."""
_GC_THRESHOLDS: Final = (20_000, 10, 10)
_LOOK_INTERVAL_S: Final = 0.02
_UNCONFIRMED: Final = (
    "The server stopped before the database confirmed the event; it may or may not be stored."
)


class App:
    """One serving process."""

    def __init__(
        self,
        config: Config,
        postgres: Postgres,
        member: Member | None = None,
        *,
        are_sockets_lent: bool = False,
    ) -> None:
        self._config = config
        self._are_sockets_lent = are_sockets_lent
        """Whether they outlive the server: then they are left as they are."""
        self._parts = Parts(config, postgres, member)
        self._background = Background(self._fail)
        self._stop = asyncio.Event()
        self._skip_drain = asyncio.Event()
        self._failed = False
        self._is_retired = False
        """Whether another process serves in its place already."""

    @property
    def keys(self) -> int:
        """Return how many API keys are known."""
        return len(self._parts.keyring)

    @property
    def is_postgres_up(self) -> bool:
        """Whether the last that was heard of Postgres is good."""
        return self._parts.health.is_up

    async def read_keys(self) -> None:
        """Know the keys of this moment without waiting to be told; raise Unavailable."""
        await self._parts.keyring.load()

    async def open(self) -> None:
        """Open the spool; raise StartupError.

        To be done before anything else, so that nothing of another database is touched.
        """
        await self._parts.preparation.open_spool()

    def stop(self) -> None:
        """Stop; whoever says so twice does not want to wait for the drain."""
        (self._skip_drain if self._stop.is_set() else self._stop).set()

    def retire(self) -> None:
        """Stop, while others go on to listen on the same sockets."""
        self._is_retired = True
        self.stop()

    async def run(
        self,
        bound: Sequence[socket.socket],
        monitor: socket.socket | None,
        when_ready: Callable[[], Awaitable[None]],
    ) -> bool:
        """Serve on bound sockets until told to stop; return whether it ended in good order.

        `open` comes first. Raises StartupError.
        """
        await self._begin()
        self._start_tasks()
        await self._listen(bound, monitor)
        await when_ready()
        if not self.keys:
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

    async def _begin(self) -> None:
        """Get Postgres ready; without it, begin with the keys known last and spool."""
        parts = self._parts
        if not await parts.keyring.recall():
            # Never seen: more likely a mistake in the configuration than an outage.
            await parts.preparation.wait_and_prepare(self._config.database.start_timeout_s)
            await self._connect()
            return
        await parts.preparation.reclaim()
        try:
            await parts.preparation.prepare()
            await self._connect()
        except Unavailable as failure:
            if failure.is_lasting:
                raise StartupError(str(failure)) from None
            parts.health.report(failure)
            log.warning(
                "starting without Postgres: events are spooled",
                reason=failure.reason,
                text=failure.text,
            )

    async def _connect(self) -> None:
        await self._parts.keyring.load()
        await self._parts.pipeline.open()

    async def _listen(self, bound: Sequence[socket.socket], monitor: socket.socket | None) -> None:
        """Take connections; raise StartupError where another server has taken a port by now."""
        await self._parts.listener.listen(bound)
        if self._parts.monitor is not None and monitor is not None:
            await self._parts.monitor.open(monitor)

    def _start_tasks(self) -> None:
        parts, own = self._parts, self._background.own
        for name, work in parts.pipeline.tasks():
            own(name, work)
        own("health", parts.health.run())
        own("sweep", parts.listener.run())
        own("duties", parts.duties.run())
        own("last uses", parts.last_uses.run())
        own("limits", parts.meters.run())
        for name, work in parts.followers():
            own(name, work)
        own("loop lag", loop_lag.watch(parts.publisher.tick))
        if parts.spool is not None:
            own("spool figures", parts.spool.watch())
        if parts.monitor is not None:
            own("sweep of the monitor", parts.monitor.run())

    def _fail(self) -> None:
        """Stop at once: a part of the server has failed."""
        self._failed = True
        self._stop.set()
        self._skip_drain.set()

    async def _drain(self) -> None:
        if self._is_retired:
            await self._pass_on()
        else:
            await self._serve_on()

    async def _pass_on(self) -> None:
        """Take nobody in any more, and have those who are connected come again to the successor.

        The server as a whole is as ready as before, so that `/readyz` goes on saying so.
        """
        parts = self._parts
        for part in (parts.router, parts.fast_lane):
            if part is not None:
                part.stop()
        await parts.listener.pass_on()
        if parts.monitor is not None:
            await parts.monitor.pass_on()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(RETIRE_S, self._config.server.drain_s)):
                while (  # noqa: ASYNC110 - a count
                    parts.listener.open_connections and not self._skip_drain.is_set()
                ):
                    await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _serve_on(self) -> None:
        """Serve on for a while and say so: a proxy that has seen it comes here no more."""
        drain_s = self._config.server.drain_s
        if drain_s > 0:
            log.info("draining", drain_s=drain_s)
        for part in (self._parts.probes, self._parts.router, self._parts.fast_lane):
            if part is not None:
                part.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._skip_drain.wait()

    async def _finish(self) -> None:
        """Listen no more, settle what is queued, and answer everybody."""
        listener, queues = self._parts.listener, self._parts.pipeline.queues
        # One that failed has a successor, at the same sockets.
        others_go_on = self._are_sockets_lent or self._failed
        await (listener.pass_on() if others_go_on else listener.stop_listening())
        timeout_s = self._config.server.shutdown_timeout_s
        arrival_s = min(_ARRIVAL_TIMEOUT_S, timeout_s / 2)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await listener.end_arrivals(arrival_s)
                log.info("stopping", events=queues.unsettled_events)
                self._parts.early_acks.stop()
                queues.close()
                await queues.drain()
                await listener.end_arrivals(arrival_s)
                await listener.finish()
        queues.refuse_all(Refusal(Code.DATABASE_ERROR, _UNCONFIRMED))
        await asyncio.sleep(0)  # the requests just refused write their answers

    async def _let_go(self) -> None:
        """End every task, close every connection, to clients and to Postgres, and the spool."""
        parts = self._parts
        await self._background.end()
        await parts.listener.close()
        await parts.pipeline.close()
        if parts.spool is not None:
            await parts.spool.close()
        if parts.monitor is not None:
            await parts.monitor.close()
        parts.meters.note()
        parts.publisher.look()
        log.info("stopped", committed=parts.metrics.committed_events)
