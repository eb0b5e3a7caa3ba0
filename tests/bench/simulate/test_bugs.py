"""The simulation notices each bug of the pipeline that is planted, by itself."""

import subprocess
import sys

import pytest

from bench.audit.bugs import BUGS as AUDITED
from bench.errors import BenchError
from bench.simulate import bugs

_SEEDS_MAX = 2_000
_SCRIPT = """
import sys
from bench.simulate import bugs, runner, simulation
bugs.plant(sys.argv[1])
print(*runner.first_broken(1, int(sys.argv[2])))
simulation.forget_past()
"""


@pytest.mark.audit
@pytest.mark.timeout(600)  # 20 s of CPU at most, beside much else
@pytest.mark.parametrize("bug", bugs.BUGS)
def test_seeded_bug_is_found(bug: str) -> None:
    """In a process of its own, which it is planted in for good."""
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT, bug, str(_SEEDS_MAX)],
        check=True,
        capture_output=True,
        text=True,
        timeout=550,
    )
    seed, _, invariant = ended.stdout.strip().partition(" ")
    assert int(seed) > 0, f"none of {_SEEDS_MAX} seeds finds {bug}"
    assert invariant


def test_each_bug_of_the_audit_is_looked_for_or_has_a_reason() -> None:
    """So that none is forgotten when it gets another one."""
    assert bugs.BUGS.keys() - {"lost-wake-up"} | bugs.NOT_HERE.keys() == AUDITED.keys()
    assert not bugs.BUGS.keys() & bugs.NOT_HERE.keys()
    assert all(bugs.NOT_HERE.values())


def test_unknown_bug_is_named() -> None:
    """With those that there are."""
    with pytest.raises(BenchError, match="lost-wake-up"):
        bugs.plant("no-such-bug")
