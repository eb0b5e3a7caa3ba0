"""A log-linear histogram of latencies: 3 significant digits from 1 ns to 137 s in 0.25 MB.

As in an HDR histogram, each power of two above 2**11 ns is split into 1,024 equal buckets, so a
value is known to 0.1 %; below, every nanosecond has a bucket of its own. Histograms of several
processes or time slices add up. Values are recorded many at a time: 10,000 cost about 0.2 ms.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

_BITS = 11
_HALF = 1 << (_BITS - 1)
_SHIFT_MAX = 26
VALUE_MAX_NS = (1 << (_BITS + _SHIFT_MAX)) - 1
_BUCKETS = (_SHIFT_MAX + 2) * _HALF
_PERCENTS = (50.0, 90.0, 99.0, 99.9)


class Sparse(NamedTuple):
    """A histogram's occupied buckets, for sending and for keeping many."""

    buckets: Counts
    counts: Counts
    max_ns: int


class Histogram:
    """Counts of latencies in nanoseconds."""

    def __init__(self) -> None:
        self._counts: Counts = np.zeros(_BUCKETS, dtype=np.int64)
        self.max_ns = 0
        """The largest value, exact."""

    @classmethod
    def of(cls, sparse: Sparse) -> Self:
        """Return a histogram with the counts of a sparse one."""
        histogram = cls()
        histogram.add(sparse)
        return histogram

    @property
    def count(self) -> int:
        """Return how many values were recorded."""
        return int(self._counts.sum())

    def record(self, values_ns: Counts) -> None:
        """Record latencies (shape (n,), nanoseconds); those past 137 s count as 137 s."""
        if not values_ns.size:
            return
        self.max_ns = max(self.max_ns, int(values_ns.max()))
        np.add.at(self._counts, _buckets(np.clip(values_ns, 0, VALUE_MAX_NS)), 1)

    def add(self, other: Sparse) -> None:
        """Add the counts of another histogram."""
        self._counts[other.buckets] += other.counts
        self.max_ns = max(self.max_ns, other.max_ns)

    def sparse(self) -> Sparse:
        """Return the occupied buckets."""
        buckets = np.flatnonzero(self._counts)
        return Sparse(buckets, self._counts[buckets], self.max_ns)

    def percentile_ns(self, percent: float) -> int:
        """Return the smallest value that `percent` of all values do not exceed; 0 when empty."""
        return int(self.percentiles_ns(np.array([percent]))[0])

    def percentiles_ns(self, percents: NDArray[np.float64]) -> Counts:
        """Return the value that each of many percentages (0 to 100) does not exceed, shape (n,)."""
        cumulative = np.cumsum(self._counts)
        total = int(cumulative[-1])
        if not total:
            return np.zeros(len(percents), dtype=np.int64)
        # Rounded, since 99.9 / 100 * 1000 is 999.0000000000001 in floating point.
        ranks = np.ceil(np.round(percents / 100 * total, 6)).clip(1, total)
        values = _middles(np.searchsorted(cumulative, ranks))
        # The last value is known exactly.
        return np.where(ranks == total, self.max_ns, np.minimum(values, self.max_ns))

    def latency_ms(self) -> dict[str, float]:
        """Return p50, p90, p99, p99.9 and max in milliseconds."""
        found = self.percentiles_ns(np.array(_PERCENTS)) / 1e6
        pairs = zip(_PERCENTS, found, strict=True)
        return {f"p{percent:g}": float(ms) for percent, ms in pairs} | {"max": self.max_ns / 1e6}


def _buckets(values_ns: Counts) -> Counts:
    """Return the bucket of each value, shape (n,)."""
    # frexp's exponent is the bit length, exact below 2**53.
    lengths = np.frexp(values_ns.astype(np.float64))[1].astype(np.int64)
    shifts = np.maximum(lengths - _BITS, 0)
    buckets: Counts = shifts * _HALF + (values_ns >> shifts)
    return buckets


def _middles(buckets: Counts) -> Counts:
    """Return the middle of each bucket in nanoseconds, shape (n,)."""
    shifts = np.maximum(buckets // _HALF - 1, 0)
    lows = (buckets - shifts * _HALF) << shifts
    middles: Counts = lows + ((1 << shifts) >> 1)
    return middles
