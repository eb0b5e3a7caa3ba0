"""A unit of what is limited, events or bytes: what all processes may still take of it."""

import math
from typing import Final, NamedTuple

from ingest.share.buckets import Bucket

SECOND_NS: Final = 1_000_000_000
LOOK_NS: Final = SECOND_NS
"""After so long it is looked anew: a day may have begun, or a clock been set."""
_LEASE_OF_SECOND: Final = 100
"""A lease is what comes back in a hundredth of a second, or as small a part of the bucket."""
_LEASE_OF_DAY: Final = 1000
"""Or so small a part of a day's, divided by the processes."""
_GRAIN_NS: Final = 1_000_000
"""What comes back in so little time is not looked for by each request."""


class Over(NamedTuple):
    """A limit that is used up."""

    amount: int
    words: str
    wait_s: float


class Unit:
    """Events, or bytes: what all processes may still take of them."""

    def __init__(
        self, name: str, bucket: Bucket, rate: int | None, burst: int | None, quota: int | None
    ) -> None:
        self._name = name
        self._bucket = bucket
        self._rate = rate
        self._burst = burst or rate or 0
        self._quota = quota
        """Of a day."""
        self.is_limited = rate is not None or quota is not None

    def available(self, now_ns: int) -> int:
        """Return what there is beside leases; below 0 while something is owed for."""
        found: list[int] = []
        if self._rate is not None:
            ahead_ns = max(0, self._bucket.full_ns - now_ns)
            found.append(self._burst - -(-ahead_ns * self._rate // SECOND_NS))
        if self._quota is not None:
            found.append(self._quota - self._bucket.used)
        return min(found)

    def lease_max(self, sharers: int) -> int:
        """Return what one process takes at most ahead of what is asked for."""
        most = max(self._rate or 0, self._burst)
        by_second = math.inf if self._rate is None else most // _LEASE_OF_SECOND
        by_day = math.inf if self._quota is None else self._quota // (_LEASE_OF_DAY * sharers)
        return int(min(by_second, by_day))

    def draw(self, amount: int, now_ns: int) -> None:
        """Take an amount."""
        full_ns = 0
        if self._rate is not None:
            full_ns = max(self._bucket.full_ns, now_ns) + amount * SECOND_NS // self._rate
        self._bucket.draw(amount, full_ns)

    def wait_ns(self, now_ns: int) -> int:
        """Return how long it takes until something may be there again."""
        if self._rate is None or self._is_day_over:
            return LOOK_NS
        wanted = min(self._burst, max(1, self._rate * _GRAIN_NS // SECOND_NS))
        return self._until_ns(wanted, now_ns)

    def over(self, now_ns: int, day_s: float) -> Over | None:
        """Return which limit is used up, the day's before the second's; None if none is."""
        if self._quota is not None and self._is_day_over:
            return Over(self._quota, f"{self._name} a day", day_s)
        if self._rate is not None and (wait_ns := self._until_ns(1, now_ns)) > 0:
            return Over(self._rate, f"{self._name} a second", wait_ns / SECOND_NS)
        return None

    @property
    def _is_day_over(self) -> bool:
        return self._quota is not None and self._quota <= self._bucket.used

    def _until_ns(self, amount: int, now_ns: int) -> int:
        """Return in how long so much is there by the second's limit; 0 or less: now."""
        ahead_ns = self._bucket.full_ns - now_ns
        return ahead_ns - (self._burst - amount) * SECOND_NS // (self._rate or 1)
