"""Who waits for an event's outcome on behalf of aiohttp's lane: a request, or nobody any more."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import structlog

from ingest.delivery.outcome import COMMITTED, Ack, Outcome, Waiter
from ingest.errors import Code, Refusal
from ingest.events.copy_reader import identity
from ingest.observe.metrics import Metrics

log = structlog.get_logger(__name__)

LOG_INTERVAL_S: Final = 10.0


class Outcomes(NamedTuple):
    """What became of the events of a batch."""

    uncommon: Mapping[int, Outcome]
    """By index: those that were refused after all, and those that had or may have been sent
    before."""
    is_spooled: bool
    """Whether any of the others is in the spool, or not yet even there."""


class Answer:
    """A request that waits for its event's outcome."""

    __slots__ = ("settled",)

    def __init__(self) -> None:
        self.settled: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: Outcome, _row: bytes = b"") -> None:
        """Wake the request; one that was cancelled in the meantime needs no answer."""
        if not self.settled.done():
            self.settled.set_result(outcome)


class BatchAnswer:
    """A request that waits for the outcomes of many events, and the waiter of most of them.

    It knows none of the other waiters: in a cycle with them the outcomes, with rows of some MiB,
    would stay until a collection, and those are rare.
    """

    def __init__(self, rows: Sequence[bytes], events: int) -> None:
        self._rows = rows
        """The COPY tuple of each event, by index; no two that wait here have the same id."""
        self._indices: dict[bytes, int] = {}
        """By app and id, once anybody asks."""
        self._unsettled = events
        self._outcomes: dict[int, Outcome] = {}
        self._is_spooled = False
        self.settled: asyncio.Future[Outcomes] = asyncio.get_running_loop().create_future()
        if not events:
            self._finish()

    def of(self, index: int) -> Waiter:
        """Return who waits for one of the events alone."""
        return _Item(self, index)

    def settle(self, outcome: Outcome, row: bytes = b"") -> None:
        """Note the outcome of one event, whichever that is if it is durable."""
        if outcome is COMMITTED:  # 0.1 µs like this, 0.2 by way of `note`
            self._unsettled -= 1
            if not self._unsettled:
                self._finish()
        else:
            self.note(-1 if isinstance(outcome, Ack) else self._index_of(row), outcome)

    def note(self, index: int, outcome: Outcome) -> None:
        """Note the outcome of the event at `index`."""
        if outcome is Ack.SPOOLED:
            self._is_spooled = True
        elif outcome is not COMMITTED:
            self._outcomes[index] = outcome
        self._unsettled -= 1
        if not self._unsettled:
            self._finish()

    def _index_of(self, row: bytes) -> int:
        if not self._indices:
            self._indices = {identity(row): index for index, row in enumerate(self._rows)}
        return self._indices[identity(row)]

    def _finish(self) -> None:
        if not self.settled.done():
            self.settled.set_result(Outcomes(self._outcomes, is_spooled=self._is_spooled))


class _Item:
    """One event of a batch that waits as a whole."""

    __slots__ = ("_answer", "_index")

    def __init__(self, answer: BatchAnswer, index: int) -> None:
        self._answer = answer
        self._index = index

    def settle(self, outcome: Outcome, _row: bytes = b"") -> None:
        """Note the outcome with the batch."""
        self._answer.note(self._index, outcome)


class EarlyAcks:
    """Stands in for every client that has its answer already (`Prefer: respond-async`).

    Nobody hears of an event of theirs that is refused after all, so it is counted, and logged at
    once, but with at most one line in LOG_INTERVAL_S.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._unlogged: Counter[Code] = Counter()
        self._interval_s = LOG_INTERVAL_S
        self._next_line: asyncio.Handle | None = None

    def of(self, _index: int) -> Waiter:
        """Return who waits for one event."""
        return self

    def settle(self, outcome: Outcome, _row: bytes = b"") -> None:
        """Note an event that is lost to its sender; of any other there is nobody to tell."""
        if not isinstance(outcome, Refusal):
            return
        self._metrics.async_refused_events += 1
        self._unlogged[outcome.code] += 1
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
