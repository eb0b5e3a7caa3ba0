"""The count of allocations: it counts, and a request leaves nothing behind."""

import pytest

from bench.costs import alloc

pytestmark = pytest.mark.slow

SECONDS = 1.0


def test_request_leaves_no_blocks_behind(database_url: str) -> None:
    """In steady state memory does not grow by requests, and the peak of one is a few KB."""
    lane = next(iter(alloc.lanes()))
    found = alloc.measure_lane(database_url, lane, SECONDS, connections=4)
    assert found.requests > 50  # also on a machine that has other work
    # So few requests also carry what connections and timers leave: not 0, but far from growth.
    assert found.net_blocks_per_request < 2
    assert 1_000 < found.peak_bytes_alone < 200_000
    assert 0 < found.peak_bytes_each < found.peak_bytes_alone * 2
    assert len(found.collections_per_100k) == 3
