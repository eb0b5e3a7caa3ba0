"""How many partitions of the past the events of one app may bring about within an hour.

Each costs a lock on the default partition, a place in every plan that can't leave it out, and
files; a client makes one by a timestamp. What is beyond the budget stays in the default partition.
Kept in memory, so each worker has its own, and a restart begins anew: what bounds the partitions
for good is their number (`partitions.PARTITIONS_MAX`).
"""

import time
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_HOUR_S: Final = 3600.0


class PartitionBudget:
    """Counts what was made within the hour, by app; apps are the operator's to make."""

    def __init__(self, per_hour_max: float) -> None:
        self._per_hour_max = per_hour_max
        self._made_s: dict[int, deque[float]] = defaultdict(deque)

    def payer(self, app_ids: Iterable[int]) -> int | None:
        """Return the first of some apps that has something left."""
        return next(filter(self._has_left, app_ids), None)

    def spent(self) -> list[int]:
        """Return the apps that have used all of it."""
        return [app_id for app_id in list(self._made_s) if not self._has_left(app_id)]

    def spend(self, app_id: int, partitions: int) -> None:
        """Count partitions that were made for an app."""
        self._made_s[app_id] += [time.monotonic()] * partitions
        if not self._has_left(app_id):
            log.warning(
                "events of other times stay in events_default: the app has used its budget",
                app_id=app_id,
                partitions_per_hour_max=self._per_hour_max,
            )

    def _has_left(self, app_id: int) -> bool:
        made_s = self._made_s[app_id]
        hour_ago_s = time.monotonic() - _HOUR_S
        while made_s and made_s[0] <= hour_ago_s:
            made_s.popleft()
        return len(made_s) < self._per_hour_max
