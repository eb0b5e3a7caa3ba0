"""Traffic: when visits begin, by hour and day of the week, or many at once."""

import math
import random
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

_HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * _HOUR_MS
_HOURS: Final = (
    0.35, 0.18, 0.1, 0.08, 0.1, 0.2, 0.45, 0.75, 0.95, 1.05, 1.15, 1.25,
    1.45, 1.3, 1.15, 1.1, 1.15, 1.3, 1.5, 1.75, 1.9, 1.7, 1.2, 0.7,
)  # fmt: skip
_WEEKDAYS: Final = (1.0, 0.94, 0.92, 0.97, 0.9, 1.05, 1.28)
_USUAL: Final = sum(_HOURS) / len(_HOURS) * sum(_WEEKDAYS) / len(_WEEKDAYS)

_RUSH_PER_S, _CALM_PER_S = 0.8, 0.12
_RUSH_HALF_MS: Final = 15 * 60_000


class Span(NamedTuple):
    """A half-open range of time."""

    begin_ms: int
    end_ms: int


def by_the_hour(
    chance: random.Random, span: Span, per_day: float, zone: tzinfo | None
) -> Iterator[int]:
    """Yield when the visits of a span begin, in order; of an average day there are `per_day`."""
    for begin_ms in range(span.begin_ms, span.end_ms, _HOUR_MS):
        length_ms = min(_HOUR_MS, span.end_ms - begin_ms)
        usual = per_day * length_ms / DAY_MS * _busyness(begin_ms, zone)
        count = max(0, round(chance.gauss(usual, math.sqrt(usual))))
        yield from sorted(begin_ms + chance.randrange(length_ms) for _ in range(count))


def _busyness(at_ms: int, zone: tzinfo | None) -> float:
    """Return how busy the shop is at a time, 1 on average."""
    at = datetime.fromtimestamp(at_ms / 1000, zone)
    return _HOURS[at.hour] * _WEEKDAYS[at.weekday()] / _USUAL


def rush(chance: random.Random, begin_ms: int) -> Iterator[int]:
    """Yield for ever when visits begin: many at first, half as many after a quarter of an hour."""
    at_ms = float(begin_ms)
    while True:
        left = 0.5 ** ((at_ms - begin_ms) / _RUSH_HALF_MS)
        per_s = _CALM_PER_S + (_RUSH_PER_S - _CALM_PER_S) * left
        at_ms += chance.expovariate(per_s) * 1000
        yield int(at_ms)
