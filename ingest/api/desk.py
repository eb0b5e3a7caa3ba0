"""The desk: where questions wait, are answered by a thread each, and are ended.

At most AT_ONCE are answered at a time and WAITING_MAX wait; each ends after `timeout_s`, or as soon
as nobody waits for it. Nothing here blocks the event loop, and nothing of DuckDB is imported before
somebody asks.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Final, Generic, TypeVar

import structlog

from ingest.api.refusals import Code, Refused
from ingest.api.views import OpenView, View
from ingest.archive.scope import Scope

log = structlog.get_logger(__name__)

AT_ONCE: Final = 2
WAITING_MAX: Final = 16
_INTERRUPT_S: Final = 0.05
"""What is to end is told again and again: between two statements of DuckDB nobody hears it."""

Result = TypeVar("Result")


class Ended(Exception):  # noqa: N818 - nobody waits for it
    """The work was ended before it was done."""


class TookTooLong(Exception):  # noqa: N818 - it is an answer
    """The work was not done in time."""


class Work(Generic[Result]):
    """Something that is done with a view, in a thread."""

    def __init__(
        self,
        open_view: OpenView,
        app_id: int,
        scope: Scope,
        do: Callable[[View], Result],
    ) -> None:
        self._open_view = open_view
        self._app_id = app_id
        self._scope = scope
        self._do = do
        self._view: View | None = None
        self._lock = Lock()
        self._is_ended = False

    def __call__(self) -> Result:
        """Open the view and do the work with it. Raises Ended, and whatever the work raises."""
        self._require()
        with self._open_view(self._app_id, self._scope) as view:
            self._have(view)
            try:
                self._require()
                return self._do(view)
            except Exception as error:
                if self._is_ended:
                    raise Ended from error
                raise
            finally:
                self._have(None)

    def end(self) -> None:
        """Have DuckDB stop, from another thread."""
        with self._lock:
            self._is_ended = True
            if self._view is not None:
                self._view.connection.interrupt()

    def _have(self, view: View | None) -> None:
        with self._lock:
            self._view = view

    def _require(self) -> None:
        if self._is_ended:
            raise Ended


class Desk:
    """Has work done, bounded."""

    def __init__(self, open_view: OpenView, timeout_s: float) -> None:
        self.open_view = open_view
        self.timeout_s = timeout_s
        """So long a question may take, its waiting too."""
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="question")
        self._ending: set[asyncio.Task[None]] = set()
        self.questions = 0
        """How many wait or are being answered."""
        self.asked = 0
        """How many there were."""

    async def do(self, work: Work[Result], timeout_s: float | None = None) -> Result:
        """Return what comes of it; raise Refused, TookTooLong, or what the work raises.

        Cancelled, it has the work end.
        """
        if self.questions >= AT_ONCE + WAITING_MAX:
            message = "Too many questions wait to be answered; ask again."
            raise Refused(Code.OVERLOADED, message, retry_after_s=2)
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self.questions += 1
        self.asked += 1
        future.add_done_callback(self._on_done)
        try:
            async with asyncio.timeout(timeout_s or self.timeout_s):
                return await asyncio.shield(future)
        except TimeoutError:
            raise TookTooLong from None
        finally:
            if not future.done():
                self._end(work, future)

    def _on_done(self, future: "asyncio.Future[Result]") -> None:
        self.questions -= 1
        if not future.cancelled():
            future.exception()  # nobody may be there any more to ask for it

    def _end(self, work: Work[Result], future: "asyncio.Future[Result]") -> None:
        task = asyncio.create_task(_end(work, future), name="end of a question")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self, timeout_s: float) -> None:
        """Wait until what was ended has ended, though not for ever."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._ending:
            await asyncio.wait(self._ending, timeout=timeout_s)


async def _end(work: Work[Result], future: "asyncio.Future[Result]") -> None:
    while not future.done():
        work.end()
        await asyncio.sleep(_INTERRUPT_S)
