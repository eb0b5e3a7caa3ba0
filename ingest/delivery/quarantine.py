"""The quarantine: apps of which Postgres refuses rows have a queue of their own for a while.

A refused row costs its whole batch another COPY, and rows of a trigger that hangs hold it up for a
time-out. Once that happens often, neighbours share no batch with such an app any more, neither its
bad events nor its good ones.
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
_INTERVAL_S: Final = 1.0


class Quarantine:
    """Knows whose rows are refused, and which apps the queues keep apart."""

    def __init__(self, queues: Queues, clock: Callable[[], float] = time.monotonic) -> None:
        self._queues = queues
        self._clock = clock
        self._refusals: Counter[int] = Counter()
        """By app, of this second; bounded by the number of apps, which only the operator makes."""
        self._last_s: dict[int, float] = {}
        """By app in quarantine, when the last row was refused."""

    def note(self, refused: Iterable[tuple[int, RowRefused]]) -> None:
        """Take note of refused rows, each with its app."""
        for app_id, bad in refused:
            self._refusals[app_id] += REFUSALS if bad.is_waiting else 1
            if app_id in self._last_s or self._refusals[app_id] >= REFUSALS:
                self._keep(app_id)

    async def run(self) -> None:
        """Begin each second anew, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            self.begin_second()

    def begin_second(self) -> None:
        """Count from zero; let out whose rows have not been refused for a while."""
        self._refusals.clear()
        before_s = self._clock() - LASTS_S
        for app_id in [each for each, last_s in self._last_s.items() if last_s < before_s]:
            del self._last_s[app_id]
            self._queues.let_out(app_id)

    def _keep(self, app_id: int) -> None:
        if app_id not in self._last_s:
            log.warning("Postgres refuses many events of an app; it has a queue alone", app=app_id)
            self._queues.keep_apart(app_id)
        self._last_s[app_id] = self._clock()
