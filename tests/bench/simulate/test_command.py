"""The `simulate` command: what it tells, and how it ends."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import command
from bench.simulate import bugs, simulation

SEEDS = 20
BUG = "ack-before-commit"


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    simulation.forget_past()


def simulate(*arguments: str) -> Result:
    """Run it."""
    return CliRunner().invoke(command, ["simulate", *arguments])


def test_run_that_keeps_every_promise_says_so(tmp_path: Path) -> None:
    """With what was run, and exit code 0."""
    path = tmp_path / "simulate.json"
    ran = simulate("--seeds", str(SEEDS), "--json", str(path))
    assert ran.exit_code == 0, ran.output
    assert "every promise kept" in ran.output
    found = json.loads(path.read_text())
    assert (found["is_good"], found["seeds"], found["failures"]) == (True, SEEDS, [])
    assert 0 < found["acknowledged"] < found["events"]
    assert sum(found["faults"].values()) > SEEDS


def test_broken_promise_is_told_before_the_run_is_over(tmp_path: Path) -> None:
    """With the shortest plan that breaks it, and exit code 1; in the JSON as well."""
    path = tmp_path / "simulate.json"
    ran = simulate("--seeds", str(SEEDS), "--bug", BUG, "--json", str(path))
    assert ran.exit_code == 1
    told, summary, _ = ran.output.partition("simulated ")
    assert summary
    found = json.loads(path.read_text())
    assert not found["is_good"]
    for failure in found["failures"]:
        assert told.count(f"seed {failure['seed']} breaks {failure['invariant']}: ") == 1
        assert failure["plan"][1].split()[2] in told


def test_one_seed_is_shown_whole() -> None:
    """Its plan, all that happens, and what all of that comes to."""
    ran = simulate("--seed", "7")
    assert ran.exit_code == 0
    assert ran.output == simulate("--seed", "7").output
    assert "BROKEN" not in ran.output
    assert len(ran.output.splitlines()) > 100


def test_bug_that_there_is_not_is_named_with_those_that_there_are() -> None:
    """One line, before anything is run."""
    ran = simulate("--bug", "no-such-bug")
    assert ran.exit_code == 1
    assert all(name in str(ran.exception) for name in ("no-such-bug", *bugs.BUGS))
