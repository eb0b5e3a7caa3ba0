"""Batches at whose rows Postgres has failed without judging them, and how often.

An internal error may end by itself, and a missing function or partition may come: so a row is given
up for such a failure only if it comes again on later laps.
"""

import time
from typing import Final, NamedTuple

from ingest.spool.batch import BatchRef

_TIMES: Final = 3
_DOUBT_S: Final = 2.0
"""So often it has to fail, and for so long: behind an outage it may be brought again at once."""
_BATCHES_MAX: Final = 10_000
_FORGOTTEN_S: Final = 3_600.0
"""Who has not come again for so long, far longer than a lap, went another way."""


class _Doubt(NamedTuple):
    times: int
    first_s: float
    last_s: float


class Doubts:
    """What a replayer remembers of them."""

    def __init__(self) -> None:
        self._doubts: dict[BatchRef, _Doubt] = {}

    def is_in_doubt(self, ref: BatchRef) -> bool:
        """Note that a batch has failed so; return whether it is to be brought again."""
        now_s = time.monotonic()
        if ref not in self._doubts and not self._has_room(now_s):
            return False  # so many at once are no accident
        times, first_s, _ = self._doubts.get(ref, _Doubt(0, now_s, now_s))
        self._doubts[ref] = _Doubt(times + 1, first_s, now_s)
        return times + 1 < _TIMES or now_s - first_s < _DOUBT_S

    def forget(self, ref: BatchRef) -> None:
        """Have done with a batch."""
        self._doubts.pop(ref, None)

    def _has_room(self, now_s: float) -> bool:
        if len(self._doubts) >= _BATCHES_MAX:
            self._doubts = {
                ref: doubt
                for ref, doubt in self._doubts.items()
                if now_s - doubt.last_s < _FORGOTTEN_S
            }
        return len(self._doubts) < _BATCHES_MAX
