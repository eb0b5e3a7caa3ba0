"""Periods: calendar ranges without overlap, also when the kind of period was changed."""

import itertools
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.store.periods import (
    MOMENT_MAX,
    Period,
    Range,
    first_id,
    moment_at,
    moment_of,
    name_of,
    period_of,
    plan,
    unix_ms,
)

PERIODS: tuple[Period, ...] = ("month", "week", "day")
NOW = datetime(2026, 1, 10, 12, 30, tzinfo=UTC)


def day(text: str) -> datetime:
    """Return the first moment of a day."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "period", "start", "end"),
    [
        ("2025-12-31T23:59:59.999999", "day", "2025-12-31", "2026-01-01"),
        ("2026-01-01T00:00:00", "day", "2026-01-01", "2026-01-02"),
        ("2028-02-29T12:00:00", "day", "2028-02-29", "2028-03-01"),
        ("2025-12-31T23:59:59.999999", "week", "2025-12-29", "2026-01-05"),
        ("2026-01-04T23:59:59.999999", "week", "2025-12-29", "2026-01-05"),
        ("2026-01-05T00:00:00", "week", "2026-01-05", "2026-01-12"),
        ("2025-12-31T23:59:59.999999", "month", "2025-12-01", "2026-01-01"),
        ("2026-01-31T00:00:00", "month", "2026-01-01", "2026-02-01"),
        ("2028-02-29T23:59:59", "month", "2028-02-01", "2028-03-01"),
        ("2027-02-28T23:59:59", "month", "2027-02-01", "2027-03-01"),
    ],
)
def test_period_is_a_calendar_period(moment: str, period: Period, start: str, end: str) -> None:
    """Also at the end of a year and on a leap day; a week starts on Monday."""
    assert period_of(day(moment), period) == Range(day(start), day(end))


def test_period_is_counted_in_utc() -> None:
    """Half past midnight in Berlin is still the day before."""
    berlin = datetime.fromisoformat("2026-02-01T00:30:00+01:00")
    assert period_of(berlin, "month") == Range(day("2026-01-01"), day("2026-02-01"))


def test_everything_missing_is_planned() -> None:
    """The period of now and as many more as are wanted ahead."""
    assert plan(NOW, "month", 2, []) == [
        Range(day("2026-01-01"), day("2026-02-01")),
        Range(day("2026-02-01"), day("2026-03-01")),
        Range(day("2026-03-01"), day("2026-04-01")),
    ]


@pytest.mark.parametrize("period", PERIODS)
def test_nothing_missing_plans_nothing(period: Period) -> None:
    """A second look finds nothing to do."""
    assert plan(NOW, period, 3, plan(NOW, period, 3, [])) == []


def test_switching_from_month_to_week_cuts_the_week_that_is_half_covered() -> None:
    """The months stay; weeks begin where they end."""
    months = plan(NOW, "month", 0, [])
    assert plan(NOW, "week", 4, months) == [
        Range(day("2026-02-01"), day("2026-02-02")),
        Range(day("2026-02-02"), day("2026-02-09")),
    ]


def test_switching_from_day_to_month_fills_the_gaps_around_the_days() -> None:
    """A month with days in its middle becomes two ranges."""
    days = plan(NOW, "day", 1, [])
    assert plan(NOW, "month", 0, days) == [
        Range(day("2026-01-01"), day("2026-01-10")),
        Range(day("2026-01-12"), day("2026-02-01")),
    ]


moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - as hypothesis wants them
starts = st.lists(st.tuples(moments, st.sampled_from(PERIODS), st.integers(1, 40)), max_size=6)


@given(starts)
def test_ranges_never_overlap_and_cover_what_is_ahead(
    found: list[tuple[datetime, Period, int]],
) -> None:
    """Whatever the periods of earlier starts were: no overlap, no gap, no name used twice."""
    existing: list[Range] = []
    for now, period, ahead in found:
        existing = sorted(existing + plan(now, period, ahead, existing))
        wanted = period_of(now, period)
        for _ in range(ahead):
            wanted = Range(wanted.start, period_of(wanted.end, period).end)
        days = (wanted.end - wanted.start).days
        covered = [wanted.start + timedelta(days=number, hours=1) for number in range(days)]
        holders = [[r for r in existing if r.start <= moment < r.end] for moment in covered]
        assert {len(held) for held in holders} == {1}
    assert all(left.end <= right.start for left, right in itertools.pairwise(existing))
    assert all(each.start < each.end for each in existing)
    assert len({name_of(each) for each in existing}) == len(existing)


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - as hypothesis wants them
def test_bound_stands_for_its_millisecond(moment: datetime) -> None:
    """There and back without a rounding of floats, which would make neighbours overlap."""
    exact = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert moment_of(first_id(moment)) == exact
    assert moment_at(unix_ms(moment)) == exact


def test_time_that_no_calendar_has_is_the_last_one() -> None:
    """An id has room for the year 10889."""
    assert moment_of(UUID(int=(1 << 128) - 1)) == MOMENT_MAX
