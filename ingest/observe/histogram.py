"""A histogram that takes many equal values at once, so that events can be counted once a batch."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
EVENTS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)


class Histogram:
    """How many values were up to each of some bounds, and their sum."""

    __slots__ = ("_bounds", "_counts", "_parts", "_sum")

    def __init__(self, bounds: Sequence[float], *, parts: int = 1_000_000) -> None:
        """Begin with none; as a number the sum is a whole one, of so many parts of a unit."""
        self._bounds = bounds
        self._parts = parts
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value so many times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    @property
    def numbers(self) -> list[int]:
        """All of it, to be added up with others' place by place: counts, and the sum."""
        return [*self._counts, round(self._sum * self._parts)]

    @property
    def total(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def quantile(self, part: float) -> float:
        """Return what such a part of all values is up to, evenly spread between two bounds.

        As Prometheus reckons it; infinite behind the last bound, and 0 without any value.
        """
        rank, below = self.total * part, 0
        for at, count in enumerate(self._counts[:-1]):
            if count and below + count >= rank:
                low = self._bounds[at - 1] if at else 0.0
                return low + (self._bounds[at] - low) * (rank - below) / count
            below += count
        return math.inf if self.total else 0.0

    def like(self, numbers: Sequence[int]) -> "Histogram":
        """Return another one, of the same bounds, with what such numbers say."""
        other = Histogram(self._bounds, parts=self._parts)
        *other._counts, parts = numbers
        other._sum = parts / self._parts
        return other

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """Return what a scrape is told."""
        bounds = (*map(floatToGoString, self._bounds), "+Inf")
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)
