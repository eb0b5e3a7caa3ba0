"""Buckets in shared memory: each subject has its place, for as long as somebody wants it."""

from ingest.share.buckets import PLACES_MAX, UNWANTED_S, Place, Told
from ingest.share.segment import Segment


def place_of(segment: Segment, subject: int, own: int = 0, now_s: int = 0) -> Place:
    """Return a subject's place."""
    found = segment.buckets.place(subject, own, now_s)
    assert found is not None
    return found


def test_processes_see_what_others_have_drawn() -> None:
    """Of the same subject, and of no other."""
    segment = Segment.create(2)
    first, second = place_of(segment, 7), place_of(segment, 7, own=1)
    other = place_of(segment, 8)
    first.units[0].draw(5, 100)
    second.units[0].draw(6, 90)
    for place in (first, second):
        assert (place.units[0].used, place.units[0].full_ns) == (11, 100)
        assert (place.units[1].used, place.units[1].full_ns) == (0, 0)
    assert (other.units[0].used, other.units[0].full_ns) == (0, 0)


def test_day_begins_with_nothing_used_for_all() -> None:
    """Once, whoever says so; what other servers used is added, and what is settled is not twice."""
    segment = Segment.create(2)
    first, second = place_of(segment, 7), place_of(segment, 7, own=1)
    first.units[0].draw(5, 0)
    for each in (first, second):
        each.begin_day(20)
    first.units[0].draw(3, 0)
    second.begin_day(20)
    bucket = second.units[0]
    assert (second.day, bucket.used, bucket.unsettled) == (20, 3, 3)
    bucket.settle(3, 100)
    assert (bucket.used, bucket.unsettled) == (100, 0)
    first.units[0].draw(4, 0)
    assert (bucket.used, bucket.unsettled) == (104, 4)
    bucket.settle(4, 150)
    assert bucket.used == 150
    first.begin_day(21)
    assert (bucket.used, bucket.unsettled) == (0, 0)


def test_other_rate_fills_a_bucket_and_the_same_one_does_not() -> None:
    """Whichever process hears of it first."""
    segment = Segment.create(2)
    first, second = place_of(segment, 7), place_of(segment, 7, own=1)
    first.hold_to(1, (10, 0), (0, 0))
    first.units[0].draw(1, 500)
    second.hold_to(1, (10, 0), (0, 0))
    assert second.units[0].full_ns == 500
    second.hold_to(1, (20, 0), (0, 0))
    assert first.units[0].full_ns == 0


def test_place_that_nobody_wants_is_given_to_another() -> None:
    """When there is no other, and with nothing of the first in it; one that is wanted stays."""
    segment = Segment.create(1)
    for subject in range(1, PLACES_MAX + 1):
        place_of(segment, subject).units[0].draw(subject, 1)
    assert segment.buckets.place(PLACES_MAX + 1, 0, 0) is None
    later_s = UNWANTED_S + 1
    kept = place_of(segment, 1)
    kept.want(later_s)
    new = place_of(segment, PLACES_MAX + 1, now_s=later_s)
    assert (new.units[0].used, new.units[0].full_ns) == (0, 0)
    assert place_of(segment, 1, now_s=later_s).units[0].used == 1
    # Who comes back finds what it left, unless somebody else has it.
    assert place_of(segment, 3, now_s=later_s).units[0].used == 3
    assert place_of(segment, 2, now_s=later_s).units[0].used == 0
    assert place_of(segment, PLACES_MAX + 1, now_s=later_s).units[0].used == 0


def test_refused_requests_are_told_by_subject() -> None:
    """Those of all processes together."""
    segment = Segment.create(2)
    place_of(segment, 7).refuse(2)
    place_of(segment, 7, own=1).refuse(3)
    place_of(segment, 8).hold_to(4, (10, 0), (0, 30))
    place_of(segment, 8).refuse(1)
    place_of(segment, 9)
    assert segment.buckets.told() == [
        Told(7, 0, 5, (0, 0), (0, 0)),
        Told(8, 4, 1, (10, 0), (0, 30)),
    ]
