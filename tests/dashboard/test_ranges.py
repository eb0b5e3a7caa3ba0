"""Ranges of pages: what an address has for a time means that time, wherever the clocks are."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ingest.api.parameters import read_time
from ingest.dashboard.ranges import written


@pytest.mark.parametrize("zone", ["America/Havana", "Europe/Berlin", "Asia/Beirut", "UTC"])
def test_time_in_an_address_means_that_time(zone: str) -> None:
    """Also where midnight comes twice, or not at all."""
    place = ZoneInfo(zone)
    for hour in range(366 * 24):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
        assert read_time("from", written(moment, place), place).astimezone(UTC) == moment
