"""Ranges of time as addresses have them."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from multidict import MultiDict

from ingest.api import ranges
from ingest.api.parameters import Parameters
from ingest.api.refusals import Refused
from tests.api.asked import Asked

BERLIN: Final = ZoneInfo("Europe/Berlin")
NOW: Final = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
"""Half past midnight on the first of April in Berlin."""


def ends(query: dict[str, str], zone: ZoneInfo = BERLIN) -> tuple[str, str]:
    """Return both ends of a range as they are written."""
    given = Parameters(MultiDict(query), frozenset(ranges.NAMES))
    start, end = ranges.bounded(given, zone, NOW)
    return start.isoformat(), end.isoformat()


@pytest.mark.parametrize(
    ("last", "start"),
    [
        ("1d", "2026-04-01T00:00:00+02:00"),
        ("7d", "2026-03-26T00:00:00+01:00"),
        ("1mo", "2026-04-01T00:00:00+02:00"),
        ("2mo", "2026-03-01T00:00:00+01:00"),
        ("12mo", "2025-05-01T00:00:00+02:00"),
    ],
)
def test_last_days_and_months_end_with_today(last: str, start: str) -> None:
    """In the zone, whose days have 23 or 25 hours where the clocks change."""
    assert ends({"last": last}) == (start, "2026-04-02T00:00:00+02:00")


def test_last_hours_end_with_this_one() -> None:
    """Of the zone's clock, which need not be that of UTC."""
    kathmandu = ZoneInfo("Asia/Kathmandu")
    start, end = ends({"last": "24h"}, kathmandu)
    assert end == "2026-04-01T05:00:00+05:45"
    assert datetime.fromisoformat(end) - datetime.fromisoformat(start) == timedelta(hours=24)


def test_usual_range_is_the_last_30_days() -> None:
    """Said or not."""
    assert ends({}) == ends({"last": "30d"})


@pytest.mark.parametrize(
    "query",
    [
        {"last": "7d", "from": "2026-01-01"},
        {"last": "12m"},
        {"last": "0d"},
        {"last": "4w"},
        {"last": "99999d"},
        {"last": "٣d"},
    ],
)
def test_range_that_says_nothing_certain_is_refused(query: dict[str, str]) -> None:
    """`m` would be minutes to one, and months to another."""
    with pytest.raises(Refused):
        ends(query)


def test_all_questions_of_a_range_know_it(asked: Asked) -> None:
    """And the export."""
    asked.send({"event_name": "recent", "event_params": {"user_id": "ann"}})
    for path in ("trends?event=recent", "funnel?step=recent&step=recent", "retention?first=recent"):
        assert asked.get(f"/v1/{path}&last=7d").status_code == 200
    assert len(asked.ask("/v1/events?event=recent&last=1h")["events"]) == 1
    assert len(asked.get("/v1/export?event=recent&last=1d").text.splitlines()) == 1
