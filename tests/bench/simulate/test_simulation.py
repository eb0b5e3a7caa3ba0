"""Simulated runs: an honest server keeps every promise, and a seed is the same each time."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench.simulate import plan, runner, simulation

_SEEDS = 40
_LATER = 500_000
"""Other seeds than those that anybody has looked at one by one."""


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    simulation.forget_past()


@pytest.mark.parametrize("first", range(_LATER, _LATER + 4 * _SEEDS, _SEEDS))
def test_honest_server_keeps_every_promise(first: int) -> None:
    """Whatever fails, and in whatever order."""
    found = runner.find(first, _SEEDS)
    assert found is None, found


def test_early_acknowledgement_may_come_to_nothing_where_the_spool_is_full() -> None:
    """It was taken for a loss once: nobody gets an answer that says so."""
    assert not simulation.run(plan.draw(1_001_103)).findings


def test_process_that_ends_while_its_disk_hangs_leaves_its_files_to_the_next() -> None:
    """What it could not close in good order the system closes."""
    assert not simulation.run(plan.draw(2_000_191)).findings


def test_seed_is_the_same_run_each_time() -> None:
    """Also behind others in the same process."""
    drawn = plan.draw(7)
    first = simulation.run(drawn)
    simulation.run(plan.draw(8))
    again = simulation.run(plan.draw(7))
    assert again.trace == first.trace
    assert len(first.trace) > 100


def test_seed_is_the_same_run_in_every_process() -> None:
    """With whatever order sets have there."""
    script = (
        "from bench.simulate import plan, simulation\n"
        "for seed in (20, 21, 22, 32, 107, 365):\n"
        "    print(simulation.run(plan.draw(seed)).digest)\n"
        "simulation.forget_past()"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_two_seeds_are_two_runs() -> None:
    """Else nothing would be tried."""
    digests = {simulation.run(plan.draw(seed)).digest for seed in range(5)}
    assert len(digests) == 5
