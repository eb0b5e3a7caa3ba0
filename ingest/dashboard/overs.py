"""Who was refused something for a limit of late: what the finding of it is made of.

Read from the memory that the server's processes share, as all findings are, once a second.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ingest.dashboard.text import count_of, shown
from ingest.metering.rate_limits import RateLimits
from ingest.share.buckets import Told
from ingest.share.segment import Segment

_KEPT: Final = 300
"""As many looks are kept: five minutes of them."""


class Over(NamedTuple):
    """An app, or a key of it, that sends more than it may."""

    app: str
    is_key: bool
    refused: int
    """Requests, in the last five minutes."""
    limits: RateLimits


class Overs:
    """Keeps how many requests were refused."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._counts: deque[Mapping[int, int]] = deque(maxlen=_KEPT)

    def note(self) -> None:
        """Take note, once a second."""
        self._counts.append(
            {each.subject: each.refused for each in self._segment.buckets.told() if each.refused}
        )

    def lately(self) -> Sequence[Over]:
        """Return who was refused something in the last five minutes, the most first."""
        before = self._counts[0] if self._counts else {}
        found = [
            self._over(each, count)
            for each in self._segment.buckets.told()
            if (count := each.refused - before.get(each.subject, 0)) > 0
        ]
        return sorted(found, key=lambda each: -each.refused)

    def _over(self, told: Told, count: int) -> Over:
        by_second, by_day = told.rates, told.quotas
        limits = RateLimits(
            events_per_second=by_second[0] or None,
            events_per_day=by_day[0] or None,
            bytes_per_second=by_second[1] or None,
            bytes_per_day=by_day[1] or None,
        )
        app = self._segment.labels.text_of(told.app_id)
        return Over(app, bool(told.subject & 1), count, limits)


def words(found: Sequence[Over]) -> str:
    """Say who sends more than it may, and how much that is; empty if nobody does."""
    if not found:
        return ""
    most, *others = found
    whose = "A key of the app" if most.is_key else "The app"
    refused = count_of(most.refused, "request")
    further = f"; and {count_of(len(others), 'other')}" if others else ""
    return (
        f"{whose} {shown(most.app)} may send {' and '.join(most.limits.words)}, and sends more:"
        f" {refused} got a 429 in the last five minutes{further}"
    )
