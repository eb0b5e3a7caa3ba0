"""The histogram: what it says is what the values say, to 0.1 %."""

import numpy as np
import pytest

from bench.load.histogram import VALUE_MAX_NS, Histogram

PERCENTS = np.array([0.1, 1, 10, 25, 50, 75, 90, 99, 99.9, 99.99, 100])


@pytest.fixture
def random() -> np.random.Generator:
    """The same random numbers every time."""
    return np.random.default_rng(1)


@pytest.mark.parametrize("spread", [0.1, 1.0, 2.5])
def test_percentiles_are_those_of_the_values(random: np.random.Generator, spread: float) -> None:
    """Over narrow and wide distributions, numpy's percentiles to three digits."""
    values = (random.lognormal(13, spread, 49_999)).astype(np.int64)
    histogram = Histogram()
    histogram.record(values)
    exact = np.percentile(values, PERCENTS, method="inverted_cdf")
    assert histogram.percentiles_ns(PERCENTS) == pytest.approx(exact, rel=0.001)
    assert histogram.count == len(values)


def test_small_values_are_exact() -> None:
    """Below 2,048 ns every value has a bucket of its own."""
    values = np.arange(2_048)
    histogram = Histogram()
    histogram.record(values)
    exact = np.percentile(values, PERCENTS, method="inverted_cdf")
    assert list(histogram.percentiles_ns(PERCENTS)) == list(exact)


def test_histograms_of_processes_add_up(random: np.random.Generator) -> None:
    """Recorded apart and added is the same as recorded together."""
    values = random.integers(0, 10**10, 10_000)
    together, added = Histogram(), Histogram()
    together.record(values)
    for part in np.array_split(values, 3):
        alone = Histogram()
        alone.record(part)
        added.add(alone.sparse())
    assert list(added.percentiles_ns(PERCENTS)) == list(together.percentiles_ns(PERCENTS))
    assert added.max_ns == together.max_ns == values.max()


def test_largest_value_is_exact_and_values_out_of_range_still_count() -> None:
    """A stall of ten minutes is not lost, and its length is not rounded."""
    histogram = Histogram()
    histogram.record(np.array([-1, 5, 10 * VALUE_MAX_NS + 1]))
    assert histogram.count == 3
    assert histogram.percentile_ns(100) == histogram.max_ns == 10 * VALUE_MAX_NS + 1


def test_empty_histogram_says_nothing_took_any_time() -> None:
    """No values, no percentiles."""
    assert Histogram().percentile_ns(99) == 0
