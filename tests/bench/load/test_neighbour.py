"""What stands in for another process takes the CPU that it is told to, and no more."""

import os
import time
from collections.abc import Callable

import pytest

from bench.load import neighbour

END_S = 5.0
LOOK_S = 0.001


class Clock:
    """Time as it goes on a core: work gets a part of it, sleep takes no CPU."""

    def __init__(self, given: float) -> None:
        self.now_s = self.used_s = 0.0
        self.given = given

    def work(self) -> float:
        """Do what is done between two looks; return the CPU that was used so far."""
        self.used_s += LOOK_S
        self.now_s += LOOK_S / self.given
        return self.used_s

    def sleep(self, pause_s: float) -> None:
        """Let time go on."""
        self.now_s += pause_s

    def parent(self) -> int:
        """Be there until the end."""
        return int(self.now_s < END_S)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float, float], float]:
    """Return which share of a core is taken, if so much of it is given."""

    def run(share: float, per_s: float, given: float) -> float:
        clock = Clock(given)
        monkeypatch.setattr(time, "process_time", clock.work)
        monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
        monkeypatch.setattr(time, "sleep", clock.sleep)
        monkeypatch.setattr(os, "getppid", clock.parent)
        neighbour.burn(share, per_s)
        return clock.used_s / clock.now_s

    return run


@pytest.mark.parametrize("share", [0.05, 0.4, 0.98])
@pytest.mark.parametrize("per_s", [1.0, 30.0])
def test_share_is_what_was_told(
    taken: Callable[[float, float, float], float], share: float, per_s: float
) -> None:
    """Whether it is taken in few bursts or in many."""
    assert taken(share, per_s, 1.0) == pytest.approx(share, rel=0.06)


def test_share_is_reached_where_others_are_before_it(
    taken: Callable[[float, float, float], float],
) -> None:
    """Its bursts take longer then, and its pauses are shorter."""
    assert taken(0.4, 10.0, 0.5) == pytest.approx(0.4, rel=0.06)


def test_no_more_is_taken_than_there_is(
    taken: Callable[[float, float, float], float],
) -> None:
    """It has no pause then."""
    assert taken(0.4, 10.0, 0.3) == pytest.approx(0.3, rel=0.06)
