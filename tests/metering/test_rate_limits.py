"""Rate limits as people write them, and as they are told."""

import pytest

from ingest.metering import rate_limits
from ingest.metering.rate_limits import BadRateLimit, RateLimits


def test_limits_are_read_as_people_write_them() -> None:
    """With separators, and bytes with a unit; what is not given stays as it was."""
    texts = {
        "events_per_second": "1,000",
        "events_burst": " 5000 ",
        "bytes_per_second": "1MB",
        "bytes_per_day": "2 GiB",
    }
    before = RateLimits(events_per_day=7, bytes_per_day=1)
    assert rate_limits.read(texts, before) == RateLimits(1000, 5000, 7, 1_000_000, 2 << 30)


@pytest.mark.parametrize("none", ["none", "", " None "])
def test_limit_is_taken_away_by_name(none: str) -> None:
    """And the others stay."""
    before = RateLimits(events_per_second=5, events_per_day=7)
    assert rate_limits.read({"events_per_second": none}, before) == RateLimits(events_per_day=7)


@pytest.mark.parametrize("name", ["events_per_second", "events_per_day", "bytes_per_second"])
@pytest.mark.parametrize(
    "text",
    ["0", "-1", "1.5", "1e3", "many", "٣", "9" * 17, "9" * 5000, "0x10", "1 000", "10MBit", "NaN"],
)
def test_what_is_no_limit_is_told_in_one_sentence(name: str, text: str) -> None:
    """With what may be written instead."""
    with pytest.raises(BadRateLimit) as raised:
        rate_limits.read({name: text})
    assert str(raised.value).startswith(name.replace("_", " "))
    assert "none" in str(raised.value)
    assert len(str(raised.value)) < 200


def test_burst_is_of_a_rate() -> None:
    """Alone it would mean nothing."""
    with pytest.raises(BadRateLimit, match="burst"):
        rate_limits.read({"events_burst": "5"})
    before = RateLimits(events_per_second=5, events_burst=9)
    with pytest.raises(BadRateLimit, match="burst"):
        rate_limits.read({"events_per_second": "none"}, before)


def test_limits_are_told_in_words() -> None:
    """Each of them; of none, nothing."""
    assert RateLimits().words == []
    assert not RateLimits()
    assert RateLimits(1000, 5000, 10**6, 1, 2).words == [
        "1,000 events a second (5,000 at once)",
        "1,000,000 events a day",
        "1 bytes a second",
        "2 bytes a day",
    ]
