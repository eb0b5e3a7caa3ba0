"""One life of the server: its pipeline, put together as the product does it, on a simulated loop.

What HTTP does around it is left out: a request is handed to the intake at once, and its answer is
made by the functions that the routes have for that.
"""

# ruff: noqa: SLF001 - what a dead process held is let go of inside

import asyncio
import math
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from bench.simulate import connection
from bench.simulate.disk import Disk
from bench.simulate.loop import SimulatedLoop
from bench.simulate.network import Network
from bench.simulate.storage import SimulatedStorage
from ingest import config
from ingest.app.background import Background
from ingest.app.preparation import Preparation
from ingest.delivery.backlog import RESERVE_PART
from ingest.delivery.intake import Intake
from ingest.delivery.links import Links
from ingest.delivery.outcome import Outcome
from ingest.delivery.pipeline import Pipeline
from ingest.errors import Code, Refusal, StartupError
from ingest.events.client_fields import Span
from ingest.http.waiters import EarlyAcks
from ingest.observe.metrics import Metrics
from ingest.spool import Spool, SpoolFull
from ingest.store.failures import Unavailable
from ingest.store.health import Health
from ingest.store.partition_map import PartitionMap
from ingest.store.periods import Range, moment_at
from ingest.store.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.simulate.plan import Settings
    from bench.simulate.world import World
    from ingest.spool.storage import DedupKey

_DAY_MS: Final = 86_400_000
_PAST_DAYS: Final = 70
_AHEAD_DAYS: Final = 40
_PERIOD_DAYS: Final = 30
_SPAN: Final = Span(366 * _DAY_MS, _DAY_MS)
_NAME_CHARS_MAX: Final = 255
_AGAIN_S: Final = 0.25
_APPS: Final = 2
_ROW_FACTOR: Final = 2
"""A row is smaller than so many times its body."""
_SHUTDOWN_S: Final = 20.0
_UNCONFIRMED: Final = (
    "The server stopped before the database confirmed the event; it may or may not be stored."
)


class _Partitions:
    """Stands in for `Partitions`: months back and ahead, and none is made."""

    def __init__(self, now_ms: int) -> None:
        self.map = PartitionMap()
        start_ms = now_ms - _PAST_DAYS * _DAY_MS
        starts = range(start_ms, now_ms + _AHEAD_DAYS * _DAY_MS, _PERIOD_DAYS * _DAY_MS)
        self.map.learn(
            [Range(moment_at(each), moment_at(each + _PERIOD_DAYS * _DAY_MS)) for each in starts]
        )

    async def make_for(self, moments: "Iterable[tuple[int, int]]") -> None:
        """Leave what has no partition to the default one."""


class _Postgres(Postgres):
    """Connects to the simulated one."""

    def __init__(self, network: Network, settings: "Settings") -> None:
        super().__init__(
            "postgres://simulated/events",
            connect_timeout_s=settings.connect_timeout_s,
            commit_timeout_s=settings.commit_timeout_s,
        )
        self._network = network

    async def _dial_with(self, timeout_s: float, settings: dict[str, str]) -> Any:  # noqa: ANN401, ARG002
        return await connection.dial(self._network, timeout_s)


class _Preparation(Preparation):
    """Finds out which database it is; schema and partitions are there."""

    async def prepare(self) -> None:
        """Find out which database it is; raise Unavailable or StartupError."""
        await self._identify()
        self._is_done = True


class _Spool(Spool):
    """Notes when it was full last: it may have room again before a batch's sender is answered."""

    def __init__(self, world: "World", disk: Disk, settings: "Settings") -> None:
        super().__init__(
            disk.directory,
            SimulatedStorage(disk),
            bytes_max=settings.spool_bytes_max,
            free_bytes_min=1,
            timeout_s=settings.spool_timeout_s,
        )
        self._world = world
        self.full_s = -math.inf

    async def append(
        self,
        rows: "Sequence[bytes]",
        dedup_keys: "Sequence[DedupKey] | None" = None,
        *,
        from_reserve: bool = False,
    ) -> None:
        """Store a batch; raise SpoolFull or SpoolFailed."""
        try:
            await super().append(rows, dedup_keys, from_reserve=from_reserve)
        except SpoolFull:
            self.full_s = self._world.now_s
            raise


class _EarlyAcks(EarlyAcks):
    """Tells whoever looks whether a refusal is right."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(metrics)
        self.on_refusal: Callable[[], None] = lambda: None
        """Called when an event is refused that was acknowledged early: nobody else hears of it."""

    def settle(self, outcome: Outcome, row: bytes = b"") -> None:
        """Note an event that is lost to its sender."""
        if isinstance(outcome, Refusal):
            self.on_refusal()
        super().settle(outcome, row)


class Server:
    """A process from its start to its end, however it ends."""

    def __init__(self, world: "World", network: Network, disk: Disk, settings: "Settings") -> None:
        self._world = world
        self._disk = disk
        self.loop = SimulatedLoop(world, are_timers_first=settings.are_timers_first)
        self.is_ready = False
        self.has_ended = False
        """Whether it has ended by itself, in good order or not."""
        self.failure = ""
        """Why it ended though nobody had told it to."""
        self.is_refusing = False
        """Whether that is that it can't start as things are."""
        self.spool = _Spool(world, disk, settings) if settings.has_spool else None
        self.metrics = Metrics(self.spool)
        self._postgres = _Postgres(network, settings)
        partitions: Any = _Partitions(int(world.wall_s * 1000))
        self._preparation = _Preparation(self._postgres, partitions, self.spool)
        links = Links(self._postgres, partitions.map, writers=settings.writers)
        self.health = Health(links.idle, self._preparation.prepare_late)
        self.pipeline = Pipeline(
            self._postgres, links, self.health, partitions, self.spool, self.metrics,
            queue=config.Queue(settings.queue_events_max, settings.queue_bytes_max),
            writer=config.Writer(
                settings.writers, settings.batch_events_max, settings.batch_bytes_max,
                settings.commit_timeout_s,
            ),
        )  # fmt: skip
        self.queues = self.pipeline.queues
        self.queues.plain.may_pair = settings.may_pair
        self.intake = Intake(
            self.queues,
            event_name_chars_max=_NAME_CHARS_MAX,
            span=_SPAN,
            has_partition=partitions.map.covers_lately,
        )
        self.early_acks = _EarlyAcks(self.metrics)
        self._background = Background(self._fail)
        self._reserved_bytes = settings.queue_bytes_max // (RESERVE_PART * _APPS)
        self._stop: asyncio.Event | None = None
        self._main = self.loop.create_task(self._run())

    def stop(self) -> None:
        """Tell it to end in good order."""
        if self._stop is not None and not self.loop.is_dead:
            self.loop.arrive(self, self._stop.set)

    def kill(self) -> None:
        """End it at once."""
        self.loop.is_dead = True
        self.is_ready = False

    def abandon(self) -> list[object]:
        """Let go of what it holds of the disk; return what has to be kept until nothing runs.

        Else its coroutines would end now, and do what they do at their end.
        """
        if self.spool is not None:
            for file in [*self.spool._directory._files]:
                with suppress(OSError):
                    file._stored.close()
                with suppress(OSError):
                    os.close(file._lock._descriptor)
        tasks = [*asyncio.all_tasks(self.loop)]
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined] # nobody awaits it
        return [self, *tasks]

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits in it, neither in its queues nor in its spool."""
        return not self.queues.unsettled_events and (self.spool is None or self.spool.is_empty)

    def look_at_refusal(self, app_id: int, size: int) -> None:
        """See that an event was not refused for what others have: of each app some fit in."""
        lanes = (queue._backlog._lanes.get(app_id) for queue in self.queues._all)
        if not any(lanes) and size < self._reserved_bytes / _ROW_FACTOR:
            self._world.errors.append(f"app {app_id} has nothing in the queues, and was refused")

    def unbalanced(self) -> str:
        """Return how its books don't balance; nothing if they do."""
        metrics, queues = self.metrics, self.queues
        come = sum(queue.accepted_events for queue in queues._all)
        gone = (
            metrics.committed_events
            + metrics.spooled_events
            + metrics.failed_events
            + metrics.duplicate_events
            + queues.unsettled_events
        )
        if come != gone:
            return f"{come} events accepted, {gone} settled or waiting"
        if self.spool is not None and metrics.events_in_spool != self.spool.events:
            return f"{metrics.events_in_spool} in the spool by the books, {self.spool.events} there"
        return ""

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        try:
            await self._begin()
        except StartupError as error:
            self.failure, self.is_refusing = str(error), True
            await self._let_go()
        else:
            self._start_tasks()
            self.is_ready = True
            await self._stop.wait()
            self.is_ready = False
            await self._finish()
            await self._let_go()
        self.has_ended = True

    async def _begin(self) -> None:
        """Get Postgres ready; without it, begin with what is known and spool."""
        await self._preparation.open_spool()
        if self._postgres.database_id is None:
            await self._wait_for_postgres()
            return
        await self._preparation.reclaim()
        try:
            await self._preparation.prepare()
            await self.pipeline.open()
        except Unavailable as failure:
            if failure.is_lasting:
                raise StartupError(str(failure)) from None
            self.health.report(failure)

    async def _wait_for_postgres(self) -> None:
        while True:
            try:
                await self._preparation.prepare()
                await self.pipeline.open()
            except Unavailable:
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    def _start_tasks(self) -> None:
        for name, work in self.pipeline.tasks():
            self._background.own(name, work)
        self._background.own("health", self.health.run())
        if self.spool is not None:
            self._background.own("spool figures", self.spool.watch())

    def _fail(self) -> None:
        self.failure = "a task of it ended"
        if self._stop is not None:
            self._stop.set()

    async def _finish(self) -> None:
        """Settle what is queued, and answer everybody."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_S):
                self.early_acks.stop()
                self.queues.close()
                await self.queues.drain()
        self.queues.refuse_all(Refusal(Code.DATABASE_ERROR, _UNCONFIRMED))
        await asyncio.sleep(0)

    async def _let_go(self) -> None:
        await self._background.end()
        await self.pipeline.close()
        if self.spool is not None:
            await self.spool.close()
