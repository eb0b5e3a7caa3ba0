"""Words and figures for people: short, true, and harmless."""

import json
import math

import pytest

from ingest.dashboard.text import pretty_json, shown_json, size_of, span_of


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1536, "1.5 KiB"),
        (54 * 1024**2, "54 MiB"),
        (1024**3, "1.0 GiB"),
        (5000 * 1024**4, "5,000 TiB"),
    ],
)
def test_size_is_told_in_the_unit_that_suits_it(size: int, told: str) -> None:
    """With a digit behind the point where there is but one before it."""
    assert size_of(size) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 ms"),
        (0.0032, "3.2 ms"),
        (1.25, "1.2 s"),
        (59, "59 s"),
        (119, "119 s"),
        (125, "2 min"),
        (7_300, "2 h"),
        (200_000, "2 days"),
        (math.inf, "more than 10 s"),
    ],
)
def test_time_is_told_in_the_unit_that_suits_it(seconds: float, told: str) -> None:
    """Never more than it is."""
    assert span_of(seconds) == told


@pytest.mark.parametrize(
    "text",
    ['{"a":\r\n\t"\u202e"}', '{"\x7f": 1}', '{"a": "\U000e0001\u00a0"}', '["ä", "\U0001f600"]'],
)
def test_json_that_is_shown_is_the_same_value(text: str) -> None:
    """Though nothing in it is unseen."""
    shown = shown_json(text)
    assert json.loads(shown) == json.loads(text)
    assert all(each.isprintable() or each in "\r\n\t" for each in shown)


def test_json_that_lies_deep_is_not_indented() -> None:
    """128 levels and a line for each number would be a hundred times as long."""
    raw = b'{"a": ' + b"[" * 120 + b",".join([b"1"] * 5_000) + b"]" * 120 + b"}"
    assert len(pretty_json(raw)) <= 8 * len(raw)
    assert json.loads(pretty_json(raw)) == json.loads(raw)
    assert pretty_json(b'{"a":1}') == '{\n  "a": 1\n}'
