"""The cost of each step: what is timed is the work that the server does."""

import pytest

from bench.costs import stages
from bench.errors import BenchError
from bench.load import payloads


def test_every_step_is_measured() -> None:
    """Each costs something, alone or in a batch or both."""
    rounds: list[None] = []
    found = stages.measure(1, lambda: rounds.append(None))
    assert len(rounds) == stages.ROUNDS
    costs = [us for cost in found.values() for us in cost if us is not None]
    assert len(costs) == 2 * len(found) - 2
    assert all(us > 0 for us in costs)


def test_steps_that_make_other_rows_are_no_measurement() -> None:
    """The rows are read back and compared with the events."""
    example = payloads.example()
    stages.Steps(example).check()
    with pytest.raises(BenchError):
        stages.Steps(example._replace(params="{}")).check()
