"""Buckets are those of the calendar, whatever clocks do."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.insights.calendar import buckets
from ingest.insights.questions import Interval
from tests.insights import oracle
from tests.insights.world import CHANGES, ZONES

SPAN = {"hour": 3, "day": 5, "week": 20, "month": 80}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(ZONES),
    st.integers(-2_000, 2_000),
    st.integers(1, 2_000),
)
def test_buckets_begin_where_the_clock_says(
    around: datetime, interval: Interval, zone: str, offset: int, minutes: int
) -> None:
    """Looked at every quarter of an hour, around changes of clocks."""
    start = around + offset * timedelta(minutes=1)
    end = start + minutes * timedelta(minutes=1)
    found = buckets(start, end, interval, ZoneInfo(zone)).edges
    starts = oracle.beginnings(around, SPAN[interval], interval, ZoneInfo(zone))
    first = oracle.bucket(start, starts)
    last = min(edge for edge in starts if edge >= end)
    assert list(found) == [edge for edge in starts if first <= edge <= last]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Africa/Cairo", date(2026, 4, 24), 23),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("America/St_Johns", date(2010, 11, 7), 25),
        ("UTC", date(2026, 3, 29), 24),
    ],
    ids=str,
)
def test_day_has_as_many_hours_as_its_clock_shows(zone: str, day: date, hours: float) -> None:
    """Also where clocks are set by half an hour, or a minute after midnight."""
    noon = datetime.combine(day, time(12), ZoneInfo(zone)).astimezone(UTC)
    found = buckets(noon, noon + timedelta(seconds=1), "day", ZoneInfo(zone)).edges
    assert [edge.date() for edge in found] == [day, day + timedelta(days=1)]
    assert (found[1].astimezone(UTC) - found[0].astimezone(UTC)) == timedelta(hours=hours)


def test_day_whose_midnight_is_skipped_begins_at_one() -> None:
    """Cairo's, in spring."""
    at = datetime(2026, 4, 24, 12, tzinfo=UTC)
    (start, _) = buckets(at, at + timedelta(hours=1), "day", ZoneInfo("Africa/Cairo")).edges
    assert start.isoformat() == "2026-04-24T01:00:00+03:00"


def test_date_that_a_zone_left_out_has_no_bucket() -> None:
    """Samoa went over the date line, and had no 30 December 2011."""
    start, end = datetime(2011, 12, 29, 12, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC)
    days = [edge.day for edge in buckets(start, end, "day", ZoneInfo("Pacific/Apia")).edges]
    assert days == [29, 31, 1, 2]


def test_hour_that_autumn_repeats_is_two_buckets() -> None:
    """They differ in their offset."""
    start, end = datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 10, 25, 2, tzinfo=UTC)
    found = buckets(start, end, "hour", ZoneInfo("Europe/Berlin")).starts
    assert [edge.isoformat()[11:] for edge in found] == ["02:00:00+02:00", "02:00:00+01:00"]


def test_grid_gives_each_step_its_bucket() -> None:
    """A day of 23 hours has 23 of them."""
    start, end = datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
    calendar = buckets(start, end, "day", ZoneInfo("Europe/Berlin"))
    _, step, places = calendar.grid()
    assert step == 3600 * 1_000_000
    assert [places.count(n) for n in range(len(calendar.starts))] == [24, 23, 24, 24]
    assert all(later >= earlier for earlier, later in pairwise(places))
