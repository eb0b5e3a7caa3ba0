"""Batches at whose rows Postgres has failed without judging them, and since when.

An internal error may end by itself, as may whatever a node of Citus says: so a row is given up for
such a failure only if it comes again a while later.
"""

import time
from typing import Final

from ingest.spool.batch import BatchRef

_DOUBT_S: Final = 2.0
"""For so long a row is brought again: the laps begin after 1 s and after 2 s more."""
_BATCHES_MAX: Final = 10_000
_FORGOTTEN_S: Final = 600.0
"""Who has not come again for so long went another way."""


class Doubts:
    """What a replayer remembers of them."""

    def __init__(self) -> None:
        self._since_s: dict[BatchRef, float] = {}

    def is_in_doubt(self, ref: BatchRef) -> bool:
        """Note that a batch has failed so; return whether it is to be brought again."""
        now_s = time.monotonic()
        if ref not in self._since_s and len(self._since_s) >= _BATCHES_MAX:
            self._forget_old(now_s)
            if len(self._since_s) >= _BATCHES_MAX:
                return False  # so many at once are no accident
        return now_s - self._since_s.setdefault(ref, now_s) < _DOUBT_S

    def forget(self, ref: BatchRef) -> None:
        """Have done with a batch."""
        self._since_s.pop(ref, None)

    def _forget_old(self, now_s: float) -> None:
        self._since_s = {
            ref: since_s for ref, since_s in self._since_s.items() if now_s - since_s < _FORGOTTEN_S
        }
