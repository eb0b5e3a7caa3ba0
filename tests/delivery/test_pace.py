"""The pace of COPYs: what a row adds is learnt, and forgotten where nothing shows it any more."""

import pytest

from ingest.delivery.backlog import Backlog, Size
from ingest.delivery.pace import Pace

ALL_EVENTS = 1000
"""A chunk where nothing slows rows down."""


def make_backlog() -> Backlog:
    """Return that of a queue of two apps."""
    backlog = Backlog(Size(100_000, 1 << 26), Size(5 * ALL_EVENTS, 1 << 23))
    backlog.apps = {1, 2}
    return backlog


def flood(backlog: Backlog, pace: Pace, copies: int, *, copy_s: float, row_s: float) -> None:
    """Have COPYs take so long, of batches that are full."""
    for _ in range(copies):
        rows = 5 * backlog.chunk_events
        pace.note(rows, copy_s + rows * row_s, is_full=True)
        backlog.keep_pace(pace.row_s)


@pytest.mark.parametrize("copy_s", [0.001, 0.04, 0.2])
def test_copy_that_was_held_up_makes_no_batch_small_for_ever(copy_s: float) -> None:
    """Nor where each takes long by itself, and none is large enough to show that rows do not."""
    backlog, pace = make_backlog(), Pace()
    for rows in (1, 20) * 20:
        pace.note(rows, copy_s)
    pace.note(300, 5.0)
    backlog.keep_pace(pace.row_s)
    assert backlog.chunk_events == 1
    flood(backlog, pace, 500, copy_s=copy_s, row_s=0.0)
    assert backlog.chunk_events == ALL_EVENTS


def test_rows_that_take_long_are_not_forgotten_in_a_flood() -> None:
    """Chunks stay far from what they would be."""
    backlog, pace = make_backlog(), Pace()
    flood(backlog, pace, 100, copy_s=0.002, row_s=0.001)
    for _ in range(1000):
        flood(backlog, pace, 1, copy_s=0.002, row_s=0.001)
        assert backlog.chunk_events < ALL_EVENTS // 10
