"""Who waits for an event's fate on behalf of aiohttp's lane: a request, or nobody any more.

The requests of this lane are counted when they are answered. So that none is counted twice, each
waiter takes its event back out of the answers that its batch has counted.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final

import structlog

from ingest.errors import Code, Refusal
from ingest.observe.metrics import Books
from ingest.pipeline.fate import Ack, Fate, Waiter

log = structlog.get_logger(__name__)

LOG_INTERVAL_S: Final = 10.0
_COMMITTED_STATUS: Final = Ack.COMMITTED.value


class Answer:
    """A request that waits for its event's fate."""

    __slots__ = ("_books", "settled")

    def __init__(self, books: Books) -> None:
        self._books = books
        self.settled: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()

    def settle(self, fate: Fate) -> None:
        """Wake the request; one that was cancelled in the meantime needs no answer."""
        if isinstance(fate, Ack):
            self._books.not_answered(fate.value)
        if not self.settled.done():
            self.settled.set_result(fate)


class BatchAnswer:
    """A request that waits for the fates of many events.

    It knows none of its waiters: in a cycle with them the fates, with rows of some MiB, would stay
    until a collection, and those are rare.
    """

    def __init__(self, books: Books, events: int) -> None:
        self.books = books
        self.unsettled = events
        self._fates: dict[int, Fate] = {}
        self.settled: asyncio.Future[dict[int, Fate]] = asyncio.get_running_loop().create_future()
        """The fates that are not simply "committed", by index."""
        if not events:
            self.settled.set_result(self._fates)

    def waiters(self, indices: Iterable[int]) -> list[Waiter]:
        """Return who waits for each of the events."""
        return [_Item(self, index) for index in indices]

    def note(self, index: int, fate: Fate) -> None:
        """Keep a fate that is not simply "committed"."""
        if isinstance(fate, Ack):
            self.books.not_answered(fate.value)
        self._fates[index] = fate

    def finish(self) -> None:
        """Wake the request."""
        if not self.settled.done():
            self.settled.set_result(self._fates)


class _Item:
    """One event of a batch that waits as a whole."""

    __slots__ = ("_answer", "_index")

    def __init__(self, answer: BatchAnswer, index: int) -> None:
        self._answer = answer
        self._index = index

    def settle(self, fate: Fate) -> None:
        """Tell the batch. What is common is done here: a second call doubles its 0.2 µs."""
        answer = self._answer
        if fate is Ack.COMMITTED:
            answer.books.requests[_COMMITTED_STATUS] -= 1
        else:
            answer.note(self._index, fate)
        answer.unsettled -= 1
        if not answer.unsettled:
            answer.finish()


class EarlyAcks:
    """Stands in for every client that has its answer already (`Prefer: respond-async`).

    Nobody hears of an event of theirs that is refused after all, so it is counted, and logged at
    once, but with at most one line in LOG_INTERVAL_S.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self._unlogged: Counter[Code] = Counter()
        self._interval_s = LOG_INTERVAL_S
        self._next_line: asyncio.Handle | None = None

    def settle(self, fate: Fate) -> None:
        """Note an event that is lost to its sender; of any other there is nobody to tell."""
        if isinstance(fate, Ack):
            self._books.not_answered(fate.value)
        if not isinstance(fate, Refusal):
            return
        self._books.async_refused_events += 1
        self._unlogged[fate.code] += 1
        if self._next_line is None:
            # Not now: the rest of its batch is about to be told the same.
            self._next_line = asyncio.get_running_loop().call_soon(self._log)

    def stop(self) -> None:
        """From now on keep no line back: there may be no later."""
        self._interval_s = 0.0
        if self._next_line is not None:
            self._next_line.cancel()
            self._log()

    def _log(self) -> None:
        self._next_line = None
        if not self._unlogged:
            return
        codes = {str(code): events for code, events in self._unlogged.items()}
        self._unlogged.clear()
        log.error("events were refused after their early 202", events=codes)
        loop = asyncio.get_running_loop()
        self._next_line = loop.call_later(self._interval_s, self._log)
