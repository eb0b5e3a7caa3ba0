"""The quarantine: apps of which Postgres refuses rows have a queue of their own for a while.

A refused row costs its whole batch another COPY. Once that happens often, neighbours share no batch
with such an app any more, neither its bad events nor its good ones. Rows of a trigger that hangs
hold a batch up for a time-out: their app has to do with neither of them from the first one on.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from ingest.delivery.queues import Queues
from ingest.store.failures import RowRefused

log = structlog.get_logger(__name__)

REFUSALS: Final = 10
"""So many refused rows in a second put an app into quarantine, or one that took a time-out."""
LASTS_S: Final = 10.0
"""So long after its last refused row an app is let out."""
HUNG_LASTS_S: Final = 60.0
"""So long after its last time-out, which the next one would cost all others: a row for which the
replay takes one comes again within that time."""
_INTERVAL_S: Final = 1.0


class Quarantine:
    """Knows whose rows are refused, and which apps the queues keep apart."""

    def __init__(self, queues: Queues, clock: Callable[[], float] = time.monotonic) -> None:
        self._queues = queues
        self._clock = clock
        self._refusals: Counter[int] = Counter()
        """By app, of this second; bounded by the number of apps, which only the operator makes."""
        self._ends_s: dict[int, float] = {}
        """By app in quarantine, when it is let out."""
        self._hung: set[int] = set()
        """Those of them whose rows took a time-out."""

    def note(self, refused: Iterable[tuple[int, RowRefused]]) -> None:
        """Take note of refused rows, each with its app."""
        for app_id, bad in refused:
            if bad.is_waiting:
                self.note_hung(app_id)
            else:
                self._note_refused(app_id)

    def note_hung(self, app_id: int) -> None:
        """Take note of an app whose rows took a time-out."""
        if app_id in self._hung:
            self._prolong(app_id, HUNG_LASTS_S)
        else:
            self._begin(app_id, HUNG_LASTS_S, is_hung=True)

    async def run(self) -> None:
        """Begin each second anew, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            self.begin_second()

    def begin_second(self) -> None:
        """Count from zero; let out whose rows have not been refused for a while."""
        self._refusals.clear()
        now_s = self._clock()
        for app_id in [each for each, ends_s in self._ends_s.items() if ends_s < now_s]:
            del self._ends_s[app_id]
            self._hung.discard(app_id)
            self._queues.let_out(app_id)

    def _note_refused(self, app_id: int) -> None:
        self._refusals[app_id] += 1
        if app_id in self._ends_s:
            self._prolong(app_id, LASTS_S)
        elif self._refusals[app_id] >= REFUSALS:
            self._begin(app_id, LASTS_S)

    def _begin(self, app_id: int, lasts_s: float, *, is_hung: bool = False) -> None:
        log.warning(
            "Postgres refuses many events of an app; it has a queue alone", app=app_id, hung=is_hung
        )
        if is_hung:
            self._hung.add(app_id)
        self._prolong(app_id, lasts_s)
        self._queues.keep_apart(app_id, is_hung=is_hung)

    def _prolong(self, app_id: int, lasts_s: float) -> None:
        self._ends_s[app_id] = max(self._ends_s.get(app_id, 0.0), self._clock() + lasts_s)
