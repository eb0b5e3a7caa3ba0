"""Periods: calendar ranges of time (UTC), which of them are still to be made, and their ids."""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

Period = Literal["month", "week", "day"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
MOMENT_MAX: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Range(NamedTuple):
    """A half-open range of time."""

    start: datetime
    end: datetime


def unix_ms(moment: datetime) -> int:
    """Return whole milliseconds since 1970."""
    return (moment - _EPOCH) // _MS


def moment_at(ms: int) -> datetime:
    """Return the time that milliseconds since 1970 stand for, at the most the year 9999."""
    return _EPOCH + min(ms, unix_ms(MOMENT_MAX)) * _MS


def first_id(moment: datetime) -> UUID:
    """Return the lowest UUIDv7-shaped id of a moment, as a bound between partitions."""
    return UUID(int=unix_ms(moment) << 80)


def moment_of(bound: UUID) -> datetime:
    """Return the time that an id, or a bound, stands for."""
    return moment_at(bound.int >> 80)


def period_of(moment: datetime, period: Period) -> Range:
    """Return the calendar period (UTC; weeks start on Monday) that holds a moment."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return Range(day, day + timedelta(days=1))
        case "week":
            monday = day - timedelta(days=day.weekday())
            return Range(monday, monday + timedelta(days=7))
        case "month":
            first = day.replace(day=1)
            return Range(first, (first + timedelta(days=32)).replace(day=1))


def plan(now: datetime, period: Period, ahead: int, existing: list[Range]) -> list[Range]:
    """Return the ranges to make: the period of `now` and `ahead` more, less what exists.

    What exists may have been cut by another period, so a range may be a part of one.
    """
    wanted = []
    current = period_of(now, period)
    for _ in range(ahead + 1):
        wanted += uncovered(current, existing)
        current = period_of(current.end, period)
    return wanted


def uncovered(wanted: Range, existing: list[Range]) -> list[Range]:
    """Return the parts of a range that no existing one holds."""
    gaps = []
    start = wanted.start
    for taken in sorted(existing):
        if taken.end > start and taken.start < wanted.end:
            if taken.start > start:
                gaps.append(Range(start, taken.start))
            start = taken.end
    if start < wanted.end:
        gaps.append(Range(start, wanted.end))
    return gaps


def name_of(wanted: Range) -> str:
    """Return a partition's table name: its first and last day."""
    return f"events_{wanted.start:%Y%m%d}_{wanted.end - timedelta(days=1):%Y%m%d}"
