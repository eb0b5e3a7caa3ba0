"""Shrinking: what is left is what is needed, and no more runs are made than are allowed."""

from bench.simulate import plan, shrink
from bench.simulate.plan import Plan


def test_plan_is_cut_down_to_what_is_needed() -> None:
    """Wherever in it that stands."""
    drawn = plan.draw(3)
    needed = {drawn.actions[1].number, drawn.actions[-1].number}

    def fails(tried: Plan) -> bool:
        return needed <= {each.number for each in tried.actions}

    shrunk = shrink.shrink(drawn, fails)
    assert {each.number for each in shrunk.actions} == needed
    assert shrunk.settings == drawn.settings


def test_shrinking_ends() -> None:
    """With what it has by then."""
    drawn, runs = plan.draw(3), [0]

    def fails(_: Plan) -> bool:
        runs[0] += 1
        return False

    assert shrink.shrink(drawn, fails, runs_max=7) == drawn
    assert runs[0] == 7
