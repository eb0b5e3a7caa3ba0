"""A seat: the place of a worker, or of the insights process, and whoever holds it now."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

import structlog

from ingest.config import INSIGHTS_END_S, RETIRE_S, Config
from ingest.errors import StartupError
from ingest.supervisor.child import Child, how_ended

log = structlog.get_logger(__name__)

_BACKOFF_MIN_S: Final = 0.2
_BACKOFF_MAX_S: Final = 15.0
_LOOP_S: Final = 10.0
"""Who ends sooner than that ends in a loop."""
_START_SPARE_S: Final = 30.0
"""So much longer than Postgres a child may take to begin."""
_LEAVE_S: Final = 2.0
"""So long one that said that it can't begin may take to end."""
_END_SPARE_S: Final = 10.0
"""A child bounds its own end; so much later it is ended."""


class Role(NamedTuple):
    """Whose seat it is."""

    words: str
    """Who that is, for people: "a worker"."""
    named: Mapping[str, int]
    """Which one of several, for the log."""
    end_s: Callable[[Config], float]
    """How long one allows itself to end."""


def worker(number: int) -> Role:
    """Return the role of a worker, by its number."""
    return Role(
        "a worker",
        {"worker": number},
        lambda config: config.server.drain_s + config.server.shutdown_timeout_s,
    )


INSIGHTS: Final = Role("the insights process", {}, lambda _: INSIGHTS_END_S)
"""The one of the insights process."""


class Hire(Protocol):
    """Starts a child of one role."""

    async def __call__(self, config: Config, *, is_first: bool) -> Child:
        """Start one; raise OSError."""


class Dismiss(Protocol):
    """Told of each that is gone."""

    def __call__(self, child: Child, *, is_planned: bool) -> None:
        """Take note of it, and of whether anybody wanted it to end."""


class Seat:
    """Has one child of its role serve, until the server stops."""

    def __init__(self, role: Role, config: Config, hire: Hire, dismiss: Dismiss) -> None:
        self._role = role
        self._config = config
        self._hire = hire
        self._dismiss = dismiss
        self.child: Child | None = None
        """Who serves; None while nobody does."""
        self._changing = asyncio.Lock()
        self._replaced = asyncio.Event()
        self._retired: dict[Child, asyncio.Task[None]] = {}
        """Those that were replaced and have not ended yet; each is seen off by a task."""
        self._early_ends = 0
        """How many ended early, one after the other."""

    async def fill(self, *, is_first: bool = False) -> Child:
        """Have one here that serves; raise StartupError."""
        async with self._changing:
            if self.child is None:
                self.child = await self._begin(self._config, is_first=is_first)
            return self.child

    async def keep(self) -> None:
        """Have another one in the place of each that ends, for ever."""
        while True:
            try:
                child = await self.fill()
            except StartupError as error:
                self._early_ends += 1
                what, why = f"{self._role.words} can't be replaced", str(error)
                log.error(what, reason=why, again_s=self._pause_s)  # noqa: TRY400 - in words
            else:
                if not await self._is_over(child):
                    continue
                self._note_end(child, await child.wait())
            await asyncio.sleep(self._pause_s)

    async def replace(self, config: Config) -> None:
        """Have a successor with this configuration serve, and only then let the old one go.

        Raises StartupError if it does not come to serve; then all is as it was.
        """
        await asyncio.gather(*self._retired.values())  # never more than two at once of one seat
        async with self._changing:
            successor = await self._begin(config)
            old, self.child, self._config = self.child, successor, config
            self._replaced.set()
        if old is not None:
            old.tell("retire")
            self._retired[old] = asyncio.create_task(self._see_off(old), name=f"retired {old}")

    async def end_stuck(self, child: Child, after_s: float) -> None:
        """End one that does nothing any more; `keep` sees to the next."""
        what = f"{self._role.words} is stuck; where it is follows"
        log.critical(what, **self._role.named, after_s=after_s)
        await child.end_stuck()

    def tell_stop(self) -> None:
        """Have all here end with the server; said again, without the rest of the drain."""
        for child in (self.child, *self._retired):
            if child is not None:
                child.tell("stop")

    async def end(self) -> int:
        """Wait for the end of all that were here, and bring it about; return the exit code.

        Nobody may `keep` it any more.
        """
        await asyncio.gather(*self._retired.values())
        if (child := self.child) is None:
            return 0
        code = await child.wait_or_kill(self._end_s)
        self._let_go(child, is_planned=True)
        if code:
            what = f"{self._role.words} did not stop in good order"
            log.error(what, **self._role.named, how=how_ended(code))
        return code

    async def _begin(self, config: Config, *, is_first: bool = False) -> Child:
        """Start one and wait until it serves; raise StartupError."""
        try:
            child = await self._hire(config, is_first=is_first)
        except OSError as error:
            raise StartupError(f"{self._role.words} can't be started: {error.strerror}") from error
        try:
            await child.wait_until_ready(config.database.start_timeout_s + _START_SPARE_S)
        except BaseException as error:  # the end of the server as well
            await child.wait_or_kill(_LEAVE_S if isinstance(error, StartupError) else 0.0)
            self._let_go(child, is_planned=False)
            raise
        return child

    async def _is_over(self, child: Child) -> bool:
        """Wait until it has ended or was replaced; return whether the seat is empty."""
        self._replaced.clear()
        ended, replaced = child.wait(), self._replaced.wait()
        tasks = [asyncio.create_task(each) for each in (ended, replaced)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return child is self.child

    def _note_end(self, child: Child, code: int) -> None:
        """Take leave of one that nobody wanted to end."""
        self.child = None
        served_s = asyncio.get_running_loop().time() - child.ready_s
        self._early_ends = self._early_ends + 1 if served_s < _LOOP_S else 0
        what = f"{self._role.words} ended, another one is started"
        log.error(
            what,
            **self._role.named,
            pid=child.pid,
            how=how_ended(code),
            served_s=round(served_s, 1),
            again_s=self._pause_s,
        )
        self._let_go(child, is_planned=False)

    @property
    def _pause_s(self) -> float:
        """How long the seat stays empty: not at all, unless one after the other ends early."""
        if self._early_ends < 2:  # noqa: PLR2004 - once is no loop
            return 0.0
        return min(_BACKOFF_MAX_S, _BACKOFF_MIN_S * 2.0 ** (self._early_ends - 2))

    @property
    def _end_s(self) -> float:
        return self._role.end_s(self._config) + _END_SPARE_S

    async def _see_off(self, old: Child) -> None:
        await old.wait_or_kill(self._end_s + RETIRE_S)
        del self._retired[old]
        self._let_go(old, is_planned=True)

    def _let_go(self, child: Child, *, is_planned: bool) -> None:
        child.close()
        self._dismiss(child, is_planned=is_planned)
