"""Who sends more than it may: told of the last five minutes, by what all processes have refused."""

from ingest.dashboard import overs
from ingest.dashboard.overs import Overs
from ingest.metering.meter import Subject
from ingest.share.buckets import Place
from ingest.share.segment import Segment

SECONDS = 300


def place_of(segment: Segment, subject: Subject, own: int = 0) -> Place:
    """Return a subject's place."""
    found = segment.buckets.place(subject.number, own, 0)
    assert found is not None
    found.hold_to(subject.app_id, (100, 0), (0, 5_000))
    return found


def test_who_was_refused_something_of_late_is_told_the_most_first() -> None:
    """By name, with its limits; a key as one of its app."""
    segment = Segment.create(2)
    segment.labels.learn({3: "shop"})
    watched = Overs(segment)
    app, key = place_of(segment, Subject(3)), place_of(segment, Subject(7, 9), own=1)
    place_of(segment, Subject(4))
    app.refuse(10)
    watched.note()
    assert overs.words(watched.lately()) == ""
    app.refuse(3_000)
    assert overs.words(watched.lately()) == (
        "The app shop may send 100 events a second and 5,000 bytes a day, and sends more:"
        " 3,000 requests got a 429 in the last five minutes"
    )
    key.refuse(3_001)
    told = overs.words(watched.lately())
    assert told.startswith("A key of the app 7 may send 100 events a second and")
    assert told.endswith("3,001 requests got a 429 in the last five minutes; and 1 other")


def test_what_is_over_is_told_no_more() -> None:
    """After five minutes."""
    segment = Segment.create(1)
    watched, app = Overs(segment), place_of(segment, Subject(3))
    watched.note()
    app.refuse(1)
    for _ in range(SECONDS - 1):
        watched.note()
        assert watched.lately()
    watched.note()
    assert not watched.lately()


def test_name_of_an_app_does_nothing_to_its_reader() -> None:
    """Nor to a terminal that shows it."""
    segment = Segment.create(1)
    segment.labels.learn({3: "shop\x1b[31m\u202e"})
    watched, app = Overs(segment), place_of(segment, Subject(3))
    watched.note()
    app.refuse(1)
    assert overs.words(watched.lately()).isprintable()
