"""Which day it is where, also where it has 23 or 25 hours."""

from datetime import UTC, date, datetime

import pytest

from ingest.metering.calendar import Calendar


def at(text: str) -> float:
    """Return a moment of UTC as Unix time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("zone", "moment", "day", "hours"),
    [
        ("UTC", "2026-01-10T12:00", "2026-01-10", 12),
        ("Europe/Berlin", "2026-01-10T23:30", "2026-01-11", 23.5),
        ("America/New_York", "2026-01-10T03:00", "2026-01-09", 2),
        ("Europe/Berlin", "2026-03-28T23:00", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-24T22:00", "2026-10-25", 25),
        ("Mars/Olympus", "2026-01-10T12:00", "2026-01-10", 12),
        ("../../etc/passwd", "2026-01-10T12:00", "2026-01-10", 12),
        ("Europe", "2026-01-10T12:00", "2026-01-10", 12),
    ],
)
def test_day_is_that_of_the_zone(zone: str, moment: str, day: str, hours: float) -> None:
    """UTC's where nobody knows the zone; and it ends at that zone's midnight."""
    calendar = Calendar(zone, lambda: at(moment))
    assert calendar.today() == date.fromisoformat(day).toordinal()
    assert calendar.left_s() == hours * 3600


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Havana"])
def test_days_follow_each_other_hour_by_hour(zone: str) -> None:
    """Whether the calendar remembers the hour before or knows nothing yet, through a whole year."""
    now = [at("2026-01-01T00:00")]
    calendar, last = Calendar(zone, lambda: now[0]), 0
    for _ in range(366 * 24):
        day = calendar.today()
        assert day == Calendar(zone, lambda: now[0]).today()
        assert not last or day - last in (0, 1)
        last = day
        now[0] += 3600


def test_clock_that_is_set_back_has_its_day() -> None:
    """Nothing is remembered that is not so."""
    now = [at("2026-01-10T12:00")]
    calendar = Calendar("UTC", lambda: now[0])
    first = calendar.today()
    now[0] += 86_400
    assert calendar.today() == first + 1
    now[0] -= 86_400
    assert calendar.today() == first
