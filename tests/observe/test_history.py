"""The last quarter of an hour: differences of what was counted, in bounded memory."""

import os

import pytest

from ingest.observe import counts
from ingest.observe.counts import NUMBERS, Counts
from ingest.observe.histogram import SECONDS, Histogram
from ingest.observe.history import KEPT_S, History
from ingest.share.segment import Segment
from ingest.share.slot import Figures


class Clock:
    """Stands still unless told otherwise."""

    now_s = 100.0

    def __call__(self) -> float:
        """Return what it shows."""
        return self.now_s


class Server:
    """One worker that counts committed events."""

    def __init__(self) -> None:
        self.segment = Segment.create(workers=1)
        self.slot = self.segment.take_slot(0)
        self.segment.slots[self.slot].enter()

    def count(self, committed: int, cpu_us: int = 0) -> None:
        """Publish."""
        row = Counts.nothing()
        row[NUMBERS.index("committed_events")] = committed
        row[NUMBERS.index("cpu_us")] = cpu_us
        self.segment.slots[self.slot].publish(Figures(row))


def test_nothing_has_happened_where_nothing_was_published() -> None:
    """Rates are 0 then, and no step is over."""
    kept = History(Server().segment)
    found = kept.change(10)
    assert (found.counts["committed_events"], found.rate(5), kept.changes(1)) == (0, 0.0, [])


def test_change_is_what_was_counted_within_a_time() -> None:
    """Of no longer than is kept; a second that was missed is only longer than others."""
    clock, server = Clock(), Server()
    server.count(0)
    kept = History(server.segment, clock)
    for second in (1, 2, 5):
        clock.now_s = 100.0 + second
        server.count(second * 10)
        kept.note()
    assert [kept.change(s).counts["committed_events"] for s in (1, 3, 4, 900)] == [30, 30, 40, 50]
    assert kept.change(3).rate(30) == 10.0
    assert [each.counts["committed_events"] for each in kept.changes(1)] == [30, 10, 10]


def test_what_a_worker_counted_that_ended_stays() -> None:
    """And that it ended is counted as well."""
    clock, server = Clock(), Server()
    server.count(7)
    kept = History(server.segment, clock)
    server.count(9)
    server.segment.retire(server.slot)
    clock.now_s += 1
    kept.note()
    found = kept.change(900)
    assert (found.counts["committed_events"], found.restarts) == (2, 1)


def test_no_more_is_kept_than_a_quarter_of_an_hour() -> None:
    """However long it goes on."""
    clock, server = Clock(), Server()
    server.count(0)
    kept = History(server.segment, clock)
    for second in range(1, KEPT_S + 100):
        clock.now_s += 1
        server.count(second)
        kept.note()
    assert kept.change(10_000).counts["committed_events"] == KEPT_S
    assert len(kept.changes(60)) == KEPT_S // 60


def test_share_of_a_core_is_of_the_last_seconds() -> None:
    """None of a process of which not enough is known."""
    clock, server = Clock(), Server()
    server.count(0, cpu_us=0)
    kept = History(server.segment, clock)
    assert kept.cpu_share(os.getpid()) is None
    clock.now_s += 10
    server.count(0, cpu_us=2_500_000)
    kept.note()
    assert kept.cpu_share(os.getpid()) == 0.25
    assert kept.cpu_share(1) is None


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [
        ([], 0.5, 0.0),
        ([0.0001] * 10, 0.5, 0.00025),
        ([0.03] * 100, 0.5, 0.0375),
        ([0.03] * 99 + [2.0], 0.99, 0.05),
        ([20.0], 0.99, float("inf")),
    ],
)
def test_quantile_is_as_prometheus_reckons_it(
    values: list[float], part: float, expected: float
) -> None:
    """Between two bounds as if evenly spread; behind the last one nobody knows."""
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.observe(value)
    assert histogram.quantile(part) == pytest.approx(expected)
    assert histogram.total == len(values)


def test_row_of_nothing_is_a_whole_one() -> None:
    """So that a server's first moments can be read."""
    assert sum(Counts(Counts.nothing()).answers.values()) == 0
    assert len(Counts.nothing()) == sum(counts._LENGTHS)
