"""The cost of a COPY: both ways of sending it work, and are measured."""

from bench.costs import batch


def test_both_ways_are_measured_for_each_size() -> None:
    """Every size has a cost of CPU and a longer one of waiting."""
    rounds: list[None] = []
    found = batch.measure(2, lambda: rounds.append(None))
    assert tuple(found) == batch.SIZES
    assert len(rounds) == len(batch.SIZES) * batch.ROUNDS
    for ways in found.values():
        assert all(0 < cost.cpu_us < cost.wall_us for cost in ways)
