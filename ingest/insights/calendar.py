"""Calendar buckets of a time zone: hours, days, weeks from Monday on, and months.

A day begins at the first instant of its date, be that 00:00 or, where the clocks skip midnight,
01:00, and ends where the next one begins: it has 23 or 25 hours (or 24 and a half) when the clocks
change. Weeks and months begin with their first day. An hour begins when the clock comes to a full
one or is set: the hour that autumn repeats is two. A date that a zone left out (Samoa's 30 December
2011) has no bucket.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import pairwise
from math import gcd
from typing import Final, assert_never
from zoneinfo import ZoneInfo

import msgspec

from ingest.insights.questions import Interval

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)
"""Clocks are set at full minutes."""


class Buckets(msgspec.Struct, frozen=True):
    """The buckets that a range touches: their beginnings, and the end of the last one, in order."""

    edges: tuple[datetime, ...]

    @property
    def starts(self) -> tuple[datetime, ...]:
        """Where each of them begins."""
        return self.edges[:-1]

    def grid(self) -> tuple[int, int, list[int]]:
        """Return an origin and a step in microseconds, and the bucket of each step from there."""
        edges = [microseconds(edge) for edge in self.edges]
        step = gcd(*(later - earlier for earlier, later in pairwise(edges)))
        counts = [(later - earlier) // step for earlier, later in pairwise(edges)]
        return edges[0], step, [i for i, count in enumerate(counts) for _ in range(count)]


def buckets(start: datetime, end: datetime, interval: Interval, zone: ZoneInfo) -> Buckets:
    """Return the buckets that a range touches; its end is later than its start."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    beginnings = _hours(start, zone) if interval == "hour" else _days(start, interval, zone)
    return Buckets(tuple(_shown(edge, zone) for edge in _edges(start, end, beginnings)))


def microseconds(at: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (at.astimezone(UTC) - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """Return the time of so many microseconds since 1970."""
    return _EPOCH + value * _MICROSECOND


def _shown(at: datetime, zone: ZoneInfo) -> datetime:
    """Return a time as its zone's clock shows it, with the offset of that moment.

    One with the zone itself equals no other in the hour that autumn repeats: Python has it so.
    """
    return at.astimezone(timezone(_offset(at, zone)))


def _edges(start: datetime, end: datetime, beginnings: Iterator[datetime]) -> Iterator[datetime]:
    """Yield the last beginning up to the start, and those after it up to the first from the end."""
    latest = next(beginnings)
    for edge in beginnings:
        if edge > max(latest, start):
            yield latest
            if edge >= end and edge > start:
                yield edge
                return
        latest = max(latest, edge)


def _hours(start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    into = _into_hour(start, zone)
    edge = start - into
    if _offset(edge, zone) != _offset(start, zone):
        edge = _first(edge, start, lambda at: _offset(at, zone) == _offset(start, zone))
    while True:
        yield edge
        edge = _next_hour(edge, zone)


def _next_hour(edge: datetime, zone: ZoneInfo) -> datetime:
    following = edge + _HOUR - _into_hour(edge, zone)
    if _offset(following, zone) == _offset(edge, zone):
        return following
    return _first(edge, following, lambda at: _offset(at, zone) != _offset(edge, zone))


def _into_hour(at: datetime, zone: ZoneInfo) -> timedelta:
    local = at.astimezone(zone)
    return timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


def _days(start: datetime, interval: Interval, zone: ZoneInfo) -> Iterator[datetime]:
    day = _beginning(start.astimezone(zone).date(), interval)
    while True:
        yield _first_of(day, zone)
        day = _next(day, interval)


def _first_of(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a date; of one that is left out, that of the next one."""
    midnight = datetime.combine(day, time(), zone)
    first = midnight.astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return first
    skipped = midnight.replace(fold=1).astimezone(UTC)
    return _first(skipped, first, lambda at: at.astimezone(zone).date() >= day)


def _first(before: datetime, after: datetime, is_past: Callable[[datetime], bool]) -> datetime:
    """Return the first full minute at which something holds that did not hold before."""
    low, high = 0, (after - before) // _MINUTE
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_past(before + middle * _MINUTE) else (middle + 1, high)
    return before + low * _MINUTE


def _beginning(day: date, interval: Interval) -> date:
    match interval:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "day" | "hour":
            return day
        case _:
            assert_never(interval)


def _next(day: date, interval: Interval) -> date:
    match interval:
        case "week":
            return day + timedelta(days=7)
        case "month":
            return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        case "day" | "hour":
            return day + timedelta(days=1)
        case _:
            assert_never(interval)
