"""Limits in words."""

import pytest

from ingest.web.figures import size, span

DAY_S = 86_400


@pytest.mark.parametrize(
    ("count_bytes", "words"),
    [
        (1 << 20, "1 MiB"),
        (16 << 20, "16 MiB"),
        (1536 << 10, "1,536 KiB"),
        (1 << 30, "1 GiB"),
        (1500, "1,500 bytes"),
        (1, "1 byte"),
    ],
)
def test_size_is_exact(count_bytes: int, words: str) -> None:
    """In the largest unit that divides it."""
    assert size(count_bytes) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1826 * DAY_S, "5 years"),
        (364 * DAY_S, "364 days"),
        (DAY_S, "1 day"),
        (2.5 * DAY_S, "2 days"),
        (3600.0, "3,600 seconds"),
        (0.0, "0 seconds"),
    ],
)
def test_span_is_never_more_than_it_is(seconds: float, words: str) -> None:
    """Rounded down to years, days or seconds."""
    assert span(seconds) == words
