"""What one process has refused lately all others read, as long as the process lives."""

import os

from ingest.share.refusals import Refused, RefusedOf
from ingest.share.segment import Segment


def of_app(app_id: int, message: str = "Send JSON.") -> RefusedOf:
    """Return one refusal of an app."""
    return RefusedOf(app_id, 1, (Refused(1, 1_700_000_000_000_000, "invalid_json", message),))


def test_refusals_of_living_processes_are_read_and_go_with_them() -> None:
    """By another process, which has the segment's descriptor alone."""
    segment = Segment.create(workers=2)
    first, second = segment.take_slot(0), segment.take_slot(1)
    segment.slots[first].publish_refusals([of_app(1), of_app(2)])
    segment.slots[second].publish_refusals([of_app(1)])
    other = Segment.attach(os.dup(segment.descriptor))
    assert other.refusals() == [(first, of_app(1)), (first, of_app(2)), (second, of_app(1))]
    segment.retire(first)
    assert other.refusals() == [(second, of_app(1))]
    assert segment.take_slot(0) == first
    assert other.refusals() == [(second, of_app(1))]


def test_more_than_there_is_room_for_leaves_out_the_first() -> None:
    """Those are of apps that were refused something longest ago."""
    segment = Segment.create(workers=1)
    slot = segment.slots[segment.take_slot(0)]
    slot.publish_refusals([of_app(app_id, "ü" * 5_000) for app_id in range(1, 6)])
    kept = [each.app_id for each in slot.refusals]
    assert kept == [5]
