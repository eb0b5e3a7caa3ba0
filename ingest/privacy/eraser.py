"""Erases somebody: step by step, each of which may be done again, whoever has begun it.

What is to be done is in `erasures`, and nothing else is remembered: each step looks for what is
left. So an erasure that was ended at any point is gone on with by whoever comes next, and of two
who are at one at once none does harm.

1. What waits in this server's spool is on its way to Postgres: it is waited for.
2. The archive's files, and the rows in Postgres with them; then the rows that are in no file yet.
3. Rejected events, links between ids, tiles of boards.
4. A search in every place. What it finds is erased as before.
5. The old files go, when the questions that may read them have ended.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID, uuid4

from ingest.archive.removal import Removal
from ingest.archive.thread import in_thread
from ingest.archive.workspace import Bounds
from ingest.config import Config
from ingest.privacy.search import Found, Search
from ingest.store import app_settings, erasing, erasures
from ingest.store.deleting import EVENTS_MAX
from ingest.store.erasing import Occupied, Whose
from ingest.store.erasures import Erasure
from ingest.store.failures import Unavailable
from ingest.store.kept import Kept
from ingest.store.postgres import Connection

_ROUNDS_MAX: Final = 5
_SPOOL_S: Final = 60.0
"""So long this server's spool may take to bring what is theirs to Postgres."""
_MORE_S: Final = 5.0
"""Behind the time that a question may take, its files are deleted."""
_FILES_S: Final = 60.0
"""So long those may be there that somebody else keeps, such as a verification."""
_BEAT_S: Final = 5.0
_LOOK_S: Final = 0.5
_PATIENCE_S: Final = 120.0

T = TypeVar("T")

Tell = Callable[[str, int, int], None]
"""Told which step is done, and how much of how much; 0 of 0 where that is not known."""


class Unfinished(Exception):  # noqa: N818 - a state of the world, handled
    """It can't be brought to its end now; the message says why, and whoever comes next goes on."""


class Eraser:
    """Erases one person at a time."""

    def __init__(self, kept: Kept, url: str, config: Config, threads: int) -> None:
        """So many files of the archive are written at a time."""
        archive = config.archive
        path = Path(archive.path)
        self._kept = kept
        self._config = config
        self._removal = Removal(url, path, Bounds(archive.memory_max, 1, path), threads)
        self._worker = uuid4()
        self.search = Search(kept, config, self._removal)

    async def take(self, erasure_id: int | None = None) -> Erasure | None:
        """Take an erasure that is left, or one; None if there is none, or another is at one."""
        return await self._kept.change(lambda each: erasures.take(each, self._worker, erasure_id))

    async def erase(self, erasure: Erasure, tell: Tell) -> tuple[Erasure, Found]:
        """Do all of one that was taken; return what was done, and what the search found: nothing.

        Raises Unfinished, Unavailable, ArchiveTrouble, StartupError.
        """
        try:
            async with self._beating(erasure):
                found = await self._steps(erasure, tell)
            done = await self._kept.change(
                lambda each: erasures.finish(each, erasure.app_id, erasure.id)
            )
        except Exception as error:
            await self._leave(erasure, str(error))
            raise
        finally:
            self._removal.rest()
        if done is None:
            raise Unfinished("its row is gone")
        return done, found

    async def _leave(self, erasure: Erasure, trouble: str) -> None:
        await self._kept.do(lambda each: erasures.leave(each, erasure.id, self._worker, trouble))

    async def _steps(self, erasure: Erasure, tell: Tell) -> Found:
        app = await self._kept.read(lambda each: app_settings.find(each, erasure.app_id))
        if app is None or erasure.ids is None:
            raise Unfinished("there is no such app any more")
        whose = Whose(app.id, app.user_field, erasure.ids, erasure.asked_at)
        await self._wait_for_spool(erasure, whose, tell)
        also: tuple[UUID, ...] = ()
        for _ in range(_ROUNDS_MAX):
            await self._archive(erasure, whose, also, tell)
            await self._tail(erasure, whose, tell)
            await self._rest(erasure, whose, tell)
            found = await self._prove(erasure, whose, tell)
            if found.is_nothing:
                return found
            also = found.ids
        raise Unfinished(f"it was erased, and a search still finds: {found.told}")

    async def _wait_for_spool(self, erasure: Erasure, whose: Whose, tell: Tell) -> None:
        await self._go_on(erasure, "spool")
        end_s = time.monotonic() + _SPOOL_S
        while True:
            begun_s = time.monotonic()
            waiting, _ = await self.search.spooled(whose)
            tell("spool", 0, waiting)
            if not waiting:
                return
            if time.monotonic() > end_s:
                raise Unfinished(
                    f"{waiting} of their events wait in {self._config.spool.path} until a server"
                    " has brought them to Postgres: start it, or see `nonito spool status`"
                )
            # No more than half of the time it is looked for: a large spool takes long to read.
            await asyncio.sleep(max(_LOOK_S, time.monotonic() - begun_s))

    async def _archive(
        self, erasure: Erasure, whose: Whose, also: tuple[UUID, ...], tell: Tell
    ) -> None:
        if not await self._kept.read(erasing.has_archive):
            return
        await self._go_on(erasure, "archive")
        removal = self._removal

        def work() -> None:
            removal.erase(erasure.id, whose, also, lambda done, of: tell("archive", done, of))

        await in_thread("eraser", work, removal.stop)

    async def _tail(self, erasure: Erasure, whose: Whose, tell: Tell) -> None:
        """Delete the rows that are in no file; where there is no archive those are all."""
        await self._go_on(erasure, "events")
        if await self._kept.read(erasing.has_archive):
            while (
                await self._patiently(lambda each: erasing.erase_tail(each, erasure.id, whose))
                == EVENTS_MAX
            ):
                tell("events", 0, 0)
            return
        async for span in self.search.spans(whose.app_id):
            await self._patiently(
                partial(erasing.erase_tail, erasure=erasure.id, whose=whose, span=span)
            )
            tell("events", 0, 0)

    async def _rest(self, erasure: Erasure, whose: Whose, tell: Tell) -> None:
        await self._go_on(erasure, "rest")
        tell("rest", 0, 0)
        async for each in self.search.rejected(whose):
            await self._patiently(
                partial(erasing.erase_rejected, erasure=erasure.id, whose=whose, ids=[each])
            )
        await self._patiently(lambda each: erasing.erase_links(each, erasure.id, whose))
        if tiles := await self.search.tiles(whose):
            await self._kept.change(lambda each: erasing.erase_tiles(each, erasure.id, tiles))

    async def _prove(self, erasure: Erasure, whose: Whose, tell: Tell) -> Found:
        """Search in every place, while the old files are waited for."""
        await self._go_on(erasure, "search")
        looked = 0
        events = await self._kept.read(erasing.estimate)

        def note(rows: int) -> None:
            nonlocal looked
            looked += rows
            tell("search", min(looked, events), events)

        sweep = asyncio.create_task(self._sweep(whose), name="files of an erasure")
        try:
            found = await self.search.all(whose, note)
            if found.is_nothing:
                await sweep
            return found
        finally:
            sweep.cancel()

    async def _sweep(self, whose: Whose) -> None:
        """Have the files gone that hold what was erased; raise Unfinished if somebody keeps one."""
        if not await self._kept.read(erasing.has_archive):
            return
        grace_s = self._config.dashboard.question_timeout_s + _MORE_S
        end_s = time.monotonic() + grace_s + _FILES_S
        removal = self._removal
        while left := await in_thread(
            "sweep", lambda: removal.sweep(whose.app_id, grace_s), removal.stop
        ):
            if time.monotonic() > end_s:
                raise Unfinished(
                    f"{left} files that hold what was erased are kept yet, as by `nonito archive"
                    " verify`; they go with it"
                )
            await asyncio.sleep(_LOOK_S)

    async def _patiently(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Try a step until it gets its turn; raise Unfinished."""
        end_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return await self._kept.do(work)
            except Occupied:
                if time.monotonic() > end_s:
                    raise Unfinished("somebody else changes the archive all the time") from None
                await asyncio.sleep(_LOOK_S)

    async def _go_on(self, erasure: Erasure, stage: str = "") -> None:
        """Say what is done; raise Unfinished if it is another's by now."""
        is_ours = await self._kept.do(
            lambda each: erasures.go_on(each, erasure.id, self._worker, stage)
        )
        if not is_ours:
            raise Unfinished("somebody else has gone on with it")

    @asynccontextmanager
    async def _beating(self, erasure: Erasure) -> AsyncIterator[None]:
        """Say all the time that it is worked on."""
        is_over = asyncio.Event()

        async def beat() -> None:
            while not is_over.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_BEAT_S):
                        await is_over.wait()
                        return
                with suppress(Unavailable, Unfinished):  # the next step says so
                    await self._go_on(erasure)

        task = asyncio.create_task(beat(), name="an erasure is worked on")
        try:
            yield
        finally:
            is_over.set()  # not cancelled: that would cost the connection that it uses
            await task
