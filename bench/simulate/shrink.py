"""Shrinking: a plan that fails is cut down to the fewest actions that still make it fail.

Delta debugging: parts of the list are left out, large ones first, for as long as what is left
breaks the same promise. Each try is a run, so there is a limit to them.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from bench.simulate.plan import Action, Plan

RUNS_MAX: Final = 400


def shrink(plan: Plan, fails: Callable[[Plan], bool], runs_max: int = RUNS_MAX) -> Plan:
    """Return the shortest plan that was found, in so many runs, and for which `fails` is true."""
    kept, parts, runs = plan.actions, 2, 0
    while len(kept) > 1 and parts <= len(kept):
        for rest in _without_parts(kept, parts):
            runs += 1
            if runs > runs_max:
                return plan._replace(actions=kept)
            if fails(plan._replace(actions=rest)):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if parts == len(kept):
                break
            parts = min(parts * 2, len(kept))
    return plan._replace(actions=kept)


def _without_parts(actions: Sequence[Action], parts: int) -> list[tuple[Action, ...]]:
    """Return the actions without each of so many parts of them, the last part first."""
    ends = [len(actions) * number // parts for number in range(parts + 1)]
    pairs = [*pairwise(ends)]
    return [(*actions[:begin], *actions[end:]) for begin, end in reversed(pairs) if end > begin]
