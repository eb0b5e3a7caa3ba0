"""A meter lets in what a limit allows and no more, in one process and in several together."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.metering.calendar import Calendar
from ingest.metering.meter import Meter
from ingest.metering.pair import Pair
from ingest.metering.rate_limits import RateLimits
from ingest.share.buckets import Place
from ingest.share.segment import Segment
from tests.metering.metered import APP, SECOND_NS, Clock, alone, shared

RATES = [1, 2, 5, 10, 100, 1_000, 10_000, 1_000_000]
"""Those whose events come back after whole nanoseconds: a plain bucket of fractions is the same."""
STEPS = st.tuples(
    st.sampled_from([0, 0, 1, 2, 10, 100, 1_000, 60_000]),  # milliseconds
    st.sampled_from([1, 1, 1, 2, 7, 100, 5_000]),
)


class Oracle:
    """A token bucket as books have it, that may go below nothing by one batch."""

    def __init__(self, rate: int, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = Fraction(burst)

    def go_on(self, milliseconds: int) -> None:
        """Let time pass."""
        come_back = Fraction(milliseconds * self._rate, 1000)
        self._tokens = min(Fraction(self._burst), self._tokens + come_back)

    def take(self, events: int) -> bool:
        """Return whether they are let in."""
        if self._tokens < 1:
            return False
        self._tokens -= events
        return True


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(RATES[:4]), st.integers(1, 99), st.lists(STEPS, max_size=60))
def test_one_process_lets_in_what_a_plain_bucket_does(
    rate: int, burst: int, steps: list[tuple[int, int]]
) -> None:
    """Request by request, where a hundredth of the bucket is no event: without a lease."""
    clock, oracle = Clock(), Oracle(rate, burst)
    meter = alone(clock, events_per_second=rate, events_burst=burst)
    for milliseconds, events in steps:
        clock.go_on(milliseconds / 1000)
        oracle.go_on(milliseconds)
        assert meter.may_take(events, 100) is (expected := oracle.take(events))
        assert meter.take(events, 100) is expected


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(RATES), st.integers(1, 20_000), st.lists(STEPS, max_size=60), st.integers(1, 3)
)
def test_within_any_time_a_limit_holds(
    rate: int, burst: int, steps: list[tuple[int, int]], processes: int
) -> None:
    """For bytes as for events; but for a lease of each process, and what the last ones bring."""
    clock = Clock()
    meters = shared(
        clock, processes, bytes_per_second=rate, events_per_second=rate, events_burst=burst
    )
    let_in: list[tuple[int, int]] = []
    for number, (milliseconds, events) in enumerate(steps):
        clock.go_on(milliseconds / 1000)
        if meters[number % processes].take(events, events):
            let_in.append((clock.ns, events))
    held = min(rate, burst)
    slack = processes * (max(rate, burst) // 100 + max((each for _, each in steps), default=0))
    for begin in range(len(let_in)):
        for end in range(begin, len(let_in)):
            seconds = (let_in[end][0] - let_in[begin][0]) / SECOND_NS
            assert sum(each for _, each in let_in[begin : end + 1]) <= held + rate * seconds + slack


@pytest.mark.parametrize("processes", [1, 2, 4, 16])
@pytest.mark.parametrize("rate", [10, 1_000, 100_000])
@pytest.mark.parametrize("spread", ["even", "one", "mostly one", "in turns"])
def test_processes_together_let_in_what_the_limit_is(
    processes: int, rate: int, spread: str
) -> None:
    """Within a hundredth beside the burst, whichever of them the requests come to."""
    clock, chance = Clock(), random.Random(f"{processes}{rate}{spread}")
    meters = shared(clock, processes, events_per_second=rate)
    seconds, let_in = 10, 0
    offers = min(rate * 4, 4_000)
    step_s = 1 / offers
    for number in range(seconds * offers):
        clock.go_on(step_s)
        which = {
            "even": chance.randrange(processes),
            "one": 0,
            "mostly one": 0 if chance.random() < 0.95 else chance.randrange(processes),
            "in turns": number // offers % processes,
        }[spread]
        let_in += meters[which].take(max(1, 4 * rate // offers), 10) * max(1, 4 * rate // offers)
    expected = rate * (seconds + 1)
    # One lease of each process, and what is owed for the last that was let in.
    slack = rate / 100 * processes + 4 * rate / offers + processes
    assert 0.99 * expected - slack <= let_in <= 1.01 * expected + slack
    assert abs(let_in - expected) <= 0.1 * expected + processes


@pytest.mark.parametrize("processes", [1, 4])
def test_batch_beyond_the_bucket_is_let_in_and_owed_for(processes: int) -> None:
    """By all processes: until it has come back nothing is, and no longer."""
    clock = Clock()
    meters = shared(clock, processes, events_per_second=10, events_burst=5)
    assert meters[0].take(1_000, 1)
    # 995 more than there were, and one for who comes next.
    for waited_s, is_let_in in ((1, False), (98, False), (0.5, False), (0.1, True)):
        clock.go_on(waited_s)
        assert [each.is_open() for each in meters] == [is_let_in] * processes
    assert meters[-1].take(1, 1)
    assert not any(each.take(1, 1) for each in meters)


def test_what_is_let_in_is_within_every_limit() -> None:
    """Of events and of bytes, by the second and by the day; the first that is used up is named."""
    clock = Clock()
    for limits, let_in, words in (
        ({"events_per_second": 3}, 3, "3 events a second"),
        ({"events_per_day": 5, "events_per_second": 100}, 5, "5 events a day"),
        ({"bytes_per_second": 1_001, "events_per_day": 500}, 11, "1,001 bytes a second"),
        ({"bytes_per_day": 1_999, "events_per_second": 1_000}, 20, "1,999 bytes a day"),
    ):
        meter = alone(clock, **limits)
        assert sum(meter.take(1, 100) for _ in range(100)) == let_in
        assert words in meter.refusal().message


def test_refusal_says_which_limit_and_for_how_long() -> None:
    """In words, and in headers that clients know; of whole seconds, rounded up."""
    clock = Clock()
    meter = alone(clock, events_per_second=2)
    assert meter.take(7, 1)
    assert not meter.take(1, 1)
    refusal = meter.refusal()
    assert refusal.status == 429
    assert refusal.message == "This app may send 2 events a second; send it again in 3 s."
    assert refusal.headers == {
        "Retry-After": "3",
        "RateLimit-Limit": "2",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "3",
    }
    assert refusal.anew().headers == refusal.headers
    clock.go_on(3)
    assert meter.take(1, 1)


def test_day_goes_on_until_it_ends_and_no_longer() -> None:
    """In the zone of its app; the refusal says when that is."""
    clock = Clock()
    meter = Meter(APP, Place.alone(), 1, clock.monotonic_ns)
    meter.hold_to(RateLimits(events_per_day=4), Calendar("Europe/Berlin", clock.time))
    assert [meter.take(1, 1) for _ in range(5)] == [True] * 4 + [False]
    assert meter.refusal().headers["Retry-After"] == str(11 * 3600)  # it is 13 o'clock there
    clock.go_on(11 * 3600 - 2)
    assert not meter.take(1, 1)
    clock.go_on(3)
    assert [meter.take(1, 1) for _ in range(5)] == [True] * 4 + [False]


@pytest.mark.parametrize("processes", [2, 8])
def test_day_is_one_of_all_processes(processes: int) -> None:
    """Also where each of them has what is left of a lease, and one process takes it all."""
    clock = Clock()
    meters = shared(clock, processes, events_per_day=100_000)
    for each in meters:
        each.take(1, 1)
    let_in = sum(meters[0].take(1, 1) for _ in range(120_000)) + processes
    assert 0.98 * 100_000 <= let_in <= 100_000
    clock.go_on(86_400)
    assert all(each.take(1, 1) for each in meters)


def test_clock_that_is_set_back_and_forth_opens_no_second_day_for_ever() -> None:
    """A jump ahead begins a day, and the jump back another: each holds as it is."""
    clock = Clock()
    (meter,) = shared(clock, 1, events_per_day=10)
    for jump_s in (0, 86_400, -86_400):
        clock.set_s += jump_s
        clock.go_on(2)  # so long it is not looked anew
        assert sum(meter.take(1, 1) for _ in range(20)) == 10


def test_limit_that_is_changed_holds_at_once_and_begins_full() -> None:
    """Nothing is owed at another rate; of a day what was used counts."""
    clock = Clock()
    first, second = shared(clock, 2, events_per_second=1, events_per_day=20)
    assert first.take(15, 1)
    assert not second.take(1, 1)
    for each in (first, second):
        each.hold_to(
            RateLimits(events_per_second=10, events_per_day=20), Calendar("UTC", clock.time)
        )
    assert sum(each.take(1, 1) for each in (first, second) * 10) == 5
    assert "20 events a day" in first.refusal().message
    for each in (first, second):
        each.hold_to(RateLimits(), Calendar("UTC", clock.time))
    assert all(each.take(10**6, 10**9) for each in (first, second) * 10)


def test_successor_of_a_process_goes_on_with_what_it_left() -> None:
    """What one that was killed had let in counts, by the second and by the day."""
    clock, segment = Clock(), Segment.create(2)
    first, second = shared(clock, 2, segment, events_per_second=10, events_per_day=100)
    assert first.take(40, 1)
    segment.retire(0)
    (successor, _) = shared(clock, 2, segment, events_per_second=10, events_per_day=100)
    assert not successor.take(1, 1)
    assert not second.take(1, 1)
    clock.go_on(4)
    assert successor.take(60, 1)
    assert not second.take(1, 1)
    clock.go_on(60)
    assert not successor.take(1, 1)
    assert "100 events a day" in successor.refusal().message


def test_pair_takes_from_both_or_from_none() -> None:
    """And says which of them it was."""
    clock = Clock()
    key, app = alone(clock, events_per_second=5), alone(clock, events_per_second=8)
    pair = Pair(key, app)
    assert [pair.take(1, 1) for _ in range(6)] == [True] * 5 + [False]
    assert not pair.is_open()
    assert pair.refusal().headers["RateLimit-Limit"] == "5"
    assert [app.take(1, 1) for _ in range(4)] == [True] * 3 + [False]
    clock.go_on(1)
    assert app.take(8, 1)
    assert not pair.take(1, 1)
    assert pair.refusal().headers["RateLimit-Limit"] == "8"
    assert [key.take(1, 1) for _ in range(6)] == [True] * 5 + [False]


def test_without_a_shared_place_each_process_has_an_even_part() -> None:
    """Of each limit, and one at least."""
    clock = Clock()
    meter = Meter(APP, Place.alone(), 4, clock.monotonic_ns)
    meter.hold_to(RateLimits(events_per_second=40, events_per_day=3), Calendar("UTC", clock.time))
    assert sum(meter.take(1, 1) for _ in range(50)) == 1
    meter.hold_to(RateLimits(events_per_second=80), Calendar("UTC", clock.time))
    assert sum(meter.take(1, 1) for _ in range(50)) == 20


def test_largest_limits_and_batches_fit_their_numbers() -> None:
    """As do the smallest limits with the largest batch, of all processes at once."""
    clock = Clock()
    for meter in shared(clock, 4, events_per_second=10**9, bytes_per_second=1 << 50):
        assert meter.take(10_000, 16 << 20)
    meters = shared(Clock(), 4, bytes_per_second=1, bytes_per_day=1 << 50)
    assert [each.take(10_000, 16 << 20) for each in meters] == [True, False, False, False]
    assert int(meters[1].refusal().headers["Retry-After"]) == 16 << 20


def test_refused_requests_are_counted_for_all_to_see() -> None:
    """By note, not one by one."""
    clock, segment = Clock(), Segment.create(2)
    meters = shared(clock, 2, segment, events_per_second=1)
    for each in meters * 3:
        each.take(1, 1)
    assert segment.buckets.told() == []
    for each in meters:
        each.note()
    assert [(each.subject, each.refused) for each in segment.buckets.told()] == [(APP.number, 5)]


def test_nothing_is_looked_for_before_it_can_be_there() -> None:
    """Somebody who floods a closed limit reads a clock, and nothing that others write."""
    clock = Clock()
    meter = alone(clock, events_per_second=10, events_burst=1)
    assert meter.take(1, 1)
    assert not meter.take(1, 1)
    meter.place.units[0].draw(0, 0)  # as if it had come back
    clock.go_on(0.099)
    assert not meter.take(1, 1)
    clock.go_on(0.001)
    assert meter.take(1, 1)
    assert math.isinf(meter.bytes_left)
    assert clock.ns % SECOND_NS == 100_000_000
