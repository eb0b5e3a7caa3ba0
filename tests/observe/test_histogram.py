"""The histogram: one value many times is many values."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Reference

from ingest.observe.histogram import Histogram

BOUNDS = (0.5, 1.0, 10.0)
observations = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 0.75, 1.0, 1.25, 10.0, 11.0]), st.integers(0, 5))
)
Samples = dict[tuple[str, str], float]


def samples(histogram: Histogram) -> Samples:
    """Return what a scrape is told, by name and bound."""
    return {(s.name, s.labels.get("le", "")): s.value for s in histogram.family("a", "b").samples}


def reference(observed: Sequence[tuple[float, int]]) -> Samples:
    """Return what prometheus_client's own histogram makes of it, one by one."""
    registry = CollectorRegistry()
    histogram = Reference("a", "b", buckets=BOUNDS, registry=registry)
    for value, times in observed:
        for _ in range(times):
            histogram.observe(value)
    return {
        (s.name, s.labels.get("le", "")): s.value
        for family in registry.collect()
        for s in family.samples
        if not s.name.endswith("_created")
    }


@given(observed=observations)
def test_values_taken_at_once_count_as_those_taken_one_by_one(
    observed: list[tuple[float, int]],
) -> None:
    """As often as each of them was said to come."""
    made = Histogram(BOUNDS)
    for value, times in observed:
        made.observe(value, times)
    assert samples(made) == reference(observed)
