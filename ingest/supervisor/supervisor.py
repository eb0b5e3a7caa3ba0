"""The supervisor: fills the seats, watches them, follows the configuration, and ends the server."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

import structlog

from ingest.config import Config
from ingest.errors import StartupError
from ingest.observe import logs
from ingest.share.segment import Segment
from ingest.supervisor import changes, seat, shares
from ingest.supervisor.child import Child
from ingest.supervisor.order import InsightsOrder, Order, Ready, WorkerOrder
from ingest.supervisor.sd_notify import Notifier
from ingest.supervisor.seat import Seat
from ingest.supervisor.sockets import Sockets

log = structlog.get_logger(__name__)

STUCK_S: Final = 10.0
"""A child whose loop has not come round for so long is ended."""
_WATCH_S: Final = 1.0
_REVIVE_S: Final = 1.0


class Means(NamedTuple):
    """What the supervisor works with."""

    sockets: Sockets
    notifier: Notifier
    segment: Segment
    database_url: str
    reread: Callable[[], Config] | None
    """Reads the configuration anew at SIGHUP; raises StartupError. Without it that means the end,
    as for a terminal that is closed."""
    revive: Callable[[], None] | None
    """Starts the embedded Postgres if it has died; in a thread. Raises StartupError."""
    inherited: tuple[int, ...]
    """Descriptors that children are to hold for as long as they live."""
    may_show_key: bool
    """Whether somebody sits at a terminal, who may read the first key."""
    may_show_link: bool
    """And the link by which the first of all signs in."""
    has_insights: bool
    """Whether there is an insights process."""


class Supervisor:
    """One server. To be used once, from one event loop."""

    def __init__(self, config: Config, workers: int, means: Means) -> None:
        self._config = config
        self._workers = workers
        self._means = means
        self._seats = [
            Seat(seat.worker(number), config, partial(self._hire, number), self._dismiss)
            for number in range(workers)
        ]
        self._insights: list[Seat] = []
        """The seat of the insights process, if there is one: what becomes of it hurts no events."""
        if means.has_insights:
            made = Seat(seat.INSIGHTS, config, self._hire_insights, self._dismiss)
            self._insights.append(made)
        self._stop = asyncio.Event()
        self._skip = asyncio.Event()
        self._hangup = asyncio.Event()
        self._tasks: list[asyncio.Future[None]] = []
        self._has_failed = False
        self.stopped_early_by: signal.Signals | None = None
        """The signal that came before the server was there, if one did."""

    async def run(self, greet: Callable[[Ready], None]) -> bool:
        """Serve until SIGTERM or SIGINT; return whether it ended in good order.

        Raises StartupError where a first worker can't begin.
        """
        self._heed_signals()
        try:
            ready = await self._start()
            if ready is not None:
                greet(ready)
                self._means.notifier.ready(f"workers: {self._workers}")
                self._own_tasks()
                await self._stop.wait()
        finally:
            is_good = await self._end()
        return is_good

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        if self._means.reread is None:
            loop.add_signal_handler(signal.SIGHUP, self._on_stop, signal.SIGHUP)
        else:
            loop.add_signal_handler(signal.SIGHUP, self._hangup.set)

    def _on_stop(self, number: signal.Signals) -> None:
        """Stop; whoever says so twice does not want to wait for the drain."""
        if not self._tasks:
            self.stopped_early_by = number
        (self._skip if self._stop.is_set() else self._stop).set()

    async def _start(self) -> Ready | None:
        """Fill the seats, the first one first; return what its worker says, None if told to stop.

        It makes what all of them need: schema, partitions, the first key.
        """
        filling = asyncio.create_task(self._fill())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait((filling, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if filling.done():
            return filling.result()
        filling.cancel()
        with suppress(asyncio.CancelledError, StartupError):
            await filling
        return None

    async def _fill(self) -> Ready | None:
        first, *others = self._seats
        child = await first.fill(is_first=True)
        try:
            async with asyncio.TaskGroup() as group:
                for seat in others:
                    group.create_task(seat.fill())
        except* StartupError as errors:
            raise StartupError(str(errors.exceptions[0])) from errors
        return child.ready

    @property
    def _all_seats(self) -> list[Seat]:
        return [*self._seats, *self._insights]

    def _own_tasks(self) -> None:
        """Begin what goes on until the end; the insights process begins here, behind all others."""
        works: list[tuple[str, Awaitable[None]]] = [
            *((f"seat {number}", each.keep()) for number, each in enumerate(self._all_seats)),
            ("watch", self._watch()),
            ("systemd", self._means.notifier.run_watchdog()),
        ]
        if self._means.reread is not None:
            works.append(("hangups", self._follow_hangups(self._means.reread)))
        if self._means.revive is not None:
            works.append(("embedded", self._keep_embedded(self._means.revive)))
        for name, work in works:
            task = asyncio.ensure_future(work)
            task.add_done_callback(self._on_ended)
            task.set_name(name)
            self._tasks.append(task)

    def _on_ended(self, task: "asyncio.Future[None]") -> None:
        if not task.cancelled():
            log.critical("a part of the supervisor ended; stopping", exc_info=task.exception())
            self._has_failed = True
            self._stop.set()

    async def _hire(self, worker: int, config: Config, *, is_first: bool) -> Child:
        means = self._means
        order = WorkerOrder(
            config=shares.share(config, self._workers),
            database_url=means.database_url,
            worker=worker,
            workers=self._workers,
            listeners=means.sockets.of(worker),
            are_lent=means.sockets.are_lent,
            monitor=means.sockets.monitor,
            segment=means.segment.descriptor,
            slot=means.segment.take_slot(worker),
            address=_for_curl(means.sockets.addresses),
            makes_first_key=is_first and (means.may_show_key or bool(config.keys.first_key_file)),
            dashboard=means.sockets.dashboard_address if is_first else "",
            shows_first_link=means.may_show_link,
        )
        return await self._begin(order)

    async def _hire_insights(self, config: Config, *, is_first: bool) -> Child:
        del is_first
        means = self._means
        order = InsightsOrder(
            config=config,
            database_url=means.database_url,
            listener=means.sockets.dashboard,
            port=_port(means.sockets.addresses),
            segment=means.segment.descriptor,
            slot=means.segment.take_slot(means.segment.insights),
        )
        return await self._begin(order)

    async def _begin(self, order: Order) -> Child:
        """Start a child; raise OSError, and then its slot is free again."""
        try:
            return await Child.start(order, self._means.inherited)
        except BaseException:
            self._means.segment.retire(order.slot, is_planned=False)
            raise

    def _dismiss(self, child: Child, *, is_planned: bool) -> None:
        self._means.segment.retire(child.order.slot, is_planned=is_planned)

    async def _watch(self) -> None:
        """End children whose loop does not come round, for ever.

        Looked at by how often we have looked: when the whole machine stood still nobody is stuck.
        """
        segment = self._means.segment
        while True:
            await asyncio.sleep(_WATCH_S)
            for each in self._all_seats:
                if (child := each.child) is None:
                    continue
                looks = child.note_beat(segment.heartbeat(child.order.slot))
                if looks * _WATCH_S >= STUCK_S:
                    await each.end_stuck(child, STUCK_S)

    async def _keep_embedded(self, revive: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(_REVIVE_S)
            if self._means.segment.is_postgres_up:
                continue
            try:
                await asyncio.to_thread(revive)
            except StartupError as error:
                why = str(error)  # in words for an operator, who has no use for a traceback
                log.error("the embedded Postgres does not start", reason=why)  # noqa: TRY400

    async def _follow_hangups(self, reread: Callable[[], Config]) -> None:
        """At each SIGHUP read the configuration anew and put new workers in the place of all."""
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            self._means.notifier.reloading()
            await self._follow(reread)
            self._means.notifier.ready()
            await self._replace_insights()

    async def _follow(self, reread: Callable[[], Config]) -> None:
        try:
            read = await asyncio.to_thread(reread)
        except StartupError as error:
            why = str(error)  # in words for an operator, who has no use for a traceback
            log.error("the configuration can't be read anew", reason=why)  # noqa: TRY400
            return
        try:
            await self._replace_all(changes.apply(self._config, read))
        except StartupError as error:
            why = str(error)
            log.error("the workers that were not replaced go on as before", reason=why)  # noqa: TRY400

    async def _replace_all(self, config: Config) -> None:
        """One after the other, so that a configuration that does not work costs nobody anything."""
        for each in self._seats:
            await each.replace(config)
        self._config = config
        logs.set_level(config.log.level)
        log.info("the configuration was read anew, by new workers", workers=self._workers)

    async def _replace_insights(self) -> None:
        """Have it follow the workers, when they are served already: nobody waits for it."""
        for each in self._insights:
            try:
                await each.replace(self._config)
            except StartupError as error:
                log.error("the insights process goes on as before", reason=str(error))  # noqa: TRY400 - in words

    async def _end(self) -> bool:
        """End everything; return whether each worker ended in good order."""
        self._means.notifier.stopping()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # From now on each socket is its worker's alone, which serves who is queued, and closes it.
        self._means.sockets.release()
        for each in self._all_seats:
            each.tell_stop()
        skipping = asyncio.create_task(self._pass_on_skip())
        codes = await asyncio.gather(*(each.end() for each in self._all_seats))
        skipping.cancel()
        return not any(codes[: self._workers]) and not self._has_failed

    async def _pass_on_skip(self) -> None:
        await self._skip.wait()
        for each in self._all_seats:
            each.tell_stop()


def _port(addresses: Sequence[str]) -> int | None:
    """Return the first port of some addresses; None if all are unix sockets."""
    tcp = next((each for each in addresses if each.startswith("http")), None)
    return int(tcp.rpartition(":")[2]) if tcp else None


def _for_curl(addresses: Sequence[str]) -> str:
    """Return what curl is told to send to one of them, by TCP if there is such a one."""
    tcp = next((each for each in addresses if each.startswith("http")), None)
    return tcp or f"--unix-socket {addresses[0].removeprefix('unix:')} http://localhost"
