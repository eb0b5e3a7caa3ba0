"""The last quarter of an hour: what all processes of the server had counted at each second of it.

Counts only ever grow, so the difference of two moments is what happened between them. It is kept by
one process, in 2 MB, and begins with it.
"""

import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ingest.observe.counts import NUMBERS, Counts
from ingest.share.segment import Reading, Segment

KEPT_S: Final = 900
"""As many moments are kept, one a second."""
_PROCESSES_KEPT_S: Final = 12
_CPU_S: Final = 10.0
"""A process's share of a core is that of so many seconds."""
_CPU_AT: Final = NUMBERS.index("cpu_us")


class Change(NamedTuple):
    """What was counted within some time."""

    seconds: float
    """How long that was: less than asked for where less is kept."""
    counts: Counts
    restarts: int
    """Of workers, without a plan."""
    insights_restarts: int

    def rate(self, events: int) -> float:
        """Return how many a second so many are."""
        return events / self.seconds if self.seconds else 0.0


class _Moment(NamedTuple):
    at_s: float
    row: "array[int]"
    restarts: int
    insights_restarts: int


class History:
    """Keeps what one segment's processes count."""

    def __init__(self, segment: Segment, clock: Callable[[], float] = time.monotonic) -> None:
        self._segment = segment
        self._clock = clock
        self._moments: deque[_Moment] = deque(maxlen=KEPT_S + 1)
        self._cpu: deque[tuple[float, Mapping[int, int]]] = deque(maxlen=_PROCESSES_KEPT_S)
        """Microseconds of CPU by process."""
        self.note()

    def note(self) -> Reading:
        """Take note of how things are, to be called once a second; return it."""
        reading, now_s = self._segment.read(), self._clock()
        row = array("q", reading.counts)
        restarts = sum(reading.restarts)
        if not row:  # nobody has published anything yet
            return reading
        self._moments.append(_Moment(now_s, row, restarts, reading.insights_restarts))
        self._cpu.append((now_s, _cpu_of(reading)))
        return reading

    def change(self, seconds: float) -> Change:
        """Return what was counted in the last so many seconds, as far as they are kept."""
        if not self._moments:
            return Change(0.0, Counts(Counts.nothing()), 0, 0)
        last = self._moments[-1]
        return _between(self._before(last.at_s - seconds), last)

    def changes(self, step_s: int) -> Sequence[Change]:
        """Return what was counted in each step so far, the last one first."""
        return [_between(begin, end) for end, begin in pairwise([*self._moments][::-step_s])]

    def cpu_share(self, pid: int) -> float | None:
        """Return which part of a core a process has used of late; None before that is known."""
        now_s, now = self._cpu[-1] if self._cpu else (0.0, {})
        for then_s, then in self._cpu:
            if pid in now and pid in then and now_s - _CPU_S <= then_s < now_s:
                return (now[pid] - then[pid]) / 1_000_000 / (now_s - then_s)
        return None

    def _before(self, at_s: float) -> _Moment:
        """Return the last moment up to a time, else the first."""
        found = self._moments[0]
        for each in self._moments:
            if each.at_s > at_s:
                break
            found = each
        return found


def _between(first: _Moment, last: _Moment) -> Change:
    return Change(
        last.at_s - first.at_s,
        _difference(first.row, last.row),
        last.restarts - first.restarts,
        last.insights_restarts - first.insights_restarts,
    )


def _difference(first: Sequence[int], last: Sequence[int]) -> Counts:
    # Who has published nothing yet has no counts: a server begins with fewer.
    padded = [*first, *[0] * (len(last) - len(first))]
    row = [after - before for before, after in zip(padded, last, strict=True)]
    return Counts([*row, *Counts.nothing()[len(row) :]])


def _cpu_of(reading: Reading) -> Mapping[int, int]:
    return {
        each.pid: each.figures.counts[_CPU_AT]
        for each in reading.live
        if len(each.figures.counts) > _CPU_AT
    }
