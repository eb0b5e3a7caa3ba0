"""The period before: the same question, moved back by so many intervals that nothing overlaps.

It is moved by the clock of its zone, in whole days, weeks or months, so that its buckets begin as
those of the question do; it ends where that has come to by now, so that like is compared with like.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from ingest.api.refusals import invalid
from ingest.insights.questions import Trends

_DAY = timedelta(days=1)
_MONTHS = 12

Move = Callable[[datetime, int], datetime]
"""Moves a time back by so many intervals."""


def period_before(question: Trends, now: datetime) -> Trends:
    """Return the question of the period before; raise Refused where there is none."""
    move = _move(question)
    reached = min(question.end, now.replace(second=0, microsecond=0))
    end = reached if reached > question.start else question.end
    try:
        steps = next(n for n in count(_fewest(question)) if move(question.end, n) <= question.start)
        return replace(question, start=move(question.start, steps), end=move(end, steps), top=100)
    except (OverflowError, ValueError):
        raise invalid("compare", "there is no period so early") from None


def _fewest(question: Trends) -> int:
    """Return how many intervals are not too many in any case."""
    length = {"hour": _DAY, "day": _DAY, "week": 7 * _DAY, "month": 31 * _DAY}[question.interval]
    if _is_short(question):
        length = timedelta(hours=1)
    return max(1, (question.end - question.start) // length - 1)


def _is_short(question: Trends) -> bool:
    return question.interval == "hour" and question.end - question.start < _DAY


def _move(question: Trends) -> Move:
    zone = ZoneInfo(question.timezone)
    if question.interval == "month":
        return lambda at, n: _months_before(at.astimezone(zone), n)
    if _is_short(question):
        return lambda at, n: (at.astimezone(UTC) - timedelta(hours=n)).astimezone(zone)
    days = 7 if question.interval == "week" else 1
    return lambda at, n: at.astimezone(zone) - n * days * _DAY


def _months_before(at: datetime, months: int) -> datetime:
    """Return the same day of an earlier month, or that month's last one."""
    year, month = divmod(at.year * _MONTHS + at.month - 1 - months, _MONTHS)
    following = at.replace(
        year=year + (month + 1) // _MONTHS, month=(month + 1) % _MONTHS + 1, day=1
    )
    last = following - _DAY
    return last.replace(day=min(at.day, last.day))
