"""The alarm for rows that Postgres refuses though it is there, and though nobody is told.

It goes by what happens to real rows, as only they meet a trigger, a CHECK or a full tablespace. It
lasts as long as rows are refused: those that are passed by come again at least every 30 s.
"""

import math
import time
from collections.abc import Iterable
from typing import Final

import structlog

from ingest.store.failures import RowRefused

log = structlog.get_logger(__name__)

LASTS_S: Final = 60.0
"""The alarm ends so long after the last refusal."""

_LOG_INTERVAL_S: Final = 30.0


class RowAlarm:
    """Knows what was refused last, and logs it: at once, and again now and then."""

    def __init__(self) -> None:
        self._reason = ""
        self._noted_s = -math.inf
        self._logged_s = -math.inf
        self._unlogged = 0

    @property
    def reason(self) -> str:
        """SQLSTATE and what Postgres named, without any value; empty while nothing is refused."""
        return self._reason if time.monotonic() - self._noted_s < LASTS_S else ""

    def note(self, refused: Iterable[RowRefused]) -> None:
        """Take note of rows that were refused; those whose senders are told are no alarm."""
        reasons = [bad.reason for bad in refused if not bad.is_told]
        if not reasons:
            return
        self._reason, self._noted_s = reasons[-1], time.monotonic()
        self._unlogged += len(reasons)
        if self._noted_s - self._logged_s >= _LOG_INTERVAL_S:
            self._logged_s = self._noted_s
            log.error(
                "Postgres refuses events; they are kept, see nonito rejected",
                reason=self._reason,
                events=self._unlogged,
            )
            self._unlogged = 0
