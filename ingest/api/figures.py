"""Figures in words: short, for people. Programs are told the numbers themselves."""

from datetime import UTC, datetime
from typing import Final

from ingest.insights import fields
from ingest.insights.answers import Kind
from ingest.insights.questions import Interval, Measure

NONE: Final = "-"
ANY: Final = "any event"
GROUPS: Final[dict[Kind, str]] = {"all": "all", "none": "(none)", "other": "(other)"}
"""What groups are called that are no value's."""
_DIGITS_MAX: Final = 1e15
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def number(value: float | None) -> str:
    """Return a number, with two places if it is no whole one; `-` for none."""
    return _written(value, "")


def separated(value: float | None) -> str:
    """Return a number with its thousands apart: `12,345`."""
    return _written(value, ",")


def _written(value: float | None, separator: str) -> str:
    if value is None:
        return NONE
    if isinstance(value, int) or (value.is_integer() and abs(value) < _DIGITS_MAX):
        return f"{int(value):{separator}}"
    is_plain = 0.01 <= abs(value) < _DIGITS_MAX  # noqa: PLR2004 - what two places show
    return f"{value:{separator}.2f}" if is_plain else f"{value:.3g}"


def share(part: int, whole: int) -> str:
    """Return a share in percent; `-` of nothing."""
    return percent(part / whole if whole else None)


def percent(of_one: float | None) -> str:
    """Return a share of 1 in percent; `-` for none."""
    return NONE if of_one is None else f"{100 * of_one:.1f}%"


def span(seconds: float | None) -> str:
    """Return a length of time in the greatest unit that it has one of; `-` for none."""
    if seconds is None:
        return NONE
    length, unit = next((each for each in _SPANS if seconds >= each[0]), (1, "s"))
    return f"{seconds / length:.1f}".removesuffix(".0") + f" {unit}"


def second(at: datetime) -> str:
    """Return a time to the second, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def bucket(start: datetime, interval: Interval) -> str:
    """Return a bucket's beginning: a day, or an hour with its offset, as autumn has one twice."""
    if interval == "hour":
        return start.isoformat(timespec="minutes")
    return start.date().isoformat()


def measure(asked: Measure) -> str:
    """Return what is measured."""
    if asked.field is None:
        return asked.kind
    word = asked.kind if asked.q is None else f"p{100 * asked.q:g}"
    return f"{'median' if word == 'p50' else word} of {fields.write(asked.field)}"
