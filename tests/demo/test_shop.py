"""The made-up shop: the same for the same seed, and like a real one."""

import itertools
from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import orjson
import pytest

from ingest.demo import documents, traffic
from ingest.demo.filling import happened
from ingest.demo.scale import Scale
from ingest.demo.traffic import DAY_MS, Span
from ingest.demo.visits import Event

ZONE = ZoneInfo("Europe/Berlin")
NOW_MS = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() * 1000)
SPAN = Span(NOW_MS - 14 * DAY_MS, NOW_MS)
EVENTS = 40_000


def scale(seed: int = 1) -> Scale:
    """Return the scale of two weeks."""
    return Scale(seed, EVENTS / 14, NOW_MS - 7 * DAY_MS, ZONE)


def events_of(seed: int = 1) -> list[Event]:
    """Return all that happens in two weeks."""
    return list(happened(scale(seed), scale(seed).shop(0), SPAN))


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """Two weeks, which tests leave as they are."""
    return events_of()


def test_same_seed_makes_the_same_documents_and_another_one_others() -> None:
    """Ids too: so a filling that was broken off may be sent again."""

    def made(seed: int) -> list[documents.Batch]:
        ids = scale(seed).chance("ids", SPAN.begin_ms)
        return list(itertools.islice(documents.batches(ids, events_of(seed)), 3))

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_events_are_in_order_within_their_span_and_about_as_many_as_asked_for(
    events: list[Event],
) -> None:
    """A twentieth more or less."""
    times = [event.at_ms for event in events]
    assert times == sorted(times)
    assert SPAN.begin_ms <= times[0] < SPAN.begin_ms + DAY_MS
    assert SPAN.end_ms - DAY_MS < times[-1] < SPAN.end_ms
    assert len(events) == pytest.approx(EVENTS, rel=0.05)


def test_people_drop_off_step_by_step(events: list[Event]) -> None:
    """And a few of those who look do buy."""
    steps = ("product_view", "add_to_cart", "checkout_started", "order_completed")
    people = [
        {event.params.get("user_id") for event in events if event.name == step} for step in steps
    ]
    for more, fewer in itertools.pairwise(map(len, people)):
        assert more * 0.2 < fewer < more * 0.8


def test_release_of_the_second_week_lets_more_of_them_order(events: list[Event]) -> None:
    """As its params say, and no earlier one."""
    counts = Counter((event.name, event.params.get("release")) for event in events)
    shares = [
        counts["order_completed", version] / counts["checkout_started", version]
        for version in ("2.3.4", "2.4.0")
    ]
    assert shares[1] > shares[0] * 1.15
    week = 7 * DAY_MS
    late = [event for event in events if event.params.get("release") == "2.4.0"]
    assert late[0].at_ms >= NOW_MS - week


def test_some_come_back_some_come_often_and_some_are_nobody(events: list[Event]) -> None:
    """By days; who is nobody is in no retention."""
    days: dict[str | None, set[int]] = {}
    counts = Counter(event.params.get("user_id") for event in events)
    for event in events:
        days.setdefault(event.params.get("user_id"), set()).add(event.at_ms // DAY_MS)
    nobodys = counts.pop(None)
    assert 0.04 < nobodys / len(events) < 0.2
    back = sum(len(days[person]) > 1 for person in counts) / len(counts)
    assert 0.1 < back < 0.6
    average = sum(counts.values()) / len(counts)
    assert counts.most_common(20)[-1][1] > 8 * average


def test_nights_are_quiet_and_sundays_are_not(events: list[Event]) -> None:
    """By the clock of where the shop is."""
    moments = [datetime.fromtimestamp(event.at_ms / 1000, ZONE) for event in events]
    hours = Counter(moment.hour for moment in moments)
    assert hours[20] > 5 * hours[3]
    weekdays = Counter(moment.weekday() for moment in moments)
    assert weekdays[6] > weekdays[2] * 1.15


def test_rush_ebbs_away_but_never_ends() -> None:
    """A server that is left running is not filled with its last hours alone."""
    hour_ms = DAY_MS // 24
    starts = traffic.rush(scale().chance("live", 0), 0)
    by_hour = Counter(
        start_ms // hour_ms for start_ms in itertools.takewhile(lambda ms: ms < DAY_MS, starts)
    )
    assert by_hour[0] > 2 * by_hour[3]
    assert all(by_hour[hour] > 300 for hour in range(24))


def test_event_of_the_past_has_its_time_twice() -> None:
    """In its id, by which it is filed, and as it is read."""
    event = Event(NOW_MS + 123, "search", {"query": "müsli"})
    (batch,) = documents.batches(scale().chance("ids", 0), [event])
    (sent,) = orjson.loads(batch.document)
    assert int(sent["id"].replace("-", "")[:12], 16) == event.at_ms
    assert sent["timestamp"] == "2026-03-02T12:00:00.123+00:00"
    assert (sent["event_name"], sent["event_params"]) == ("search", {"query": "müsli"})
    assert (batch.events, batch.end_ms) == (1, event.at_ms)
