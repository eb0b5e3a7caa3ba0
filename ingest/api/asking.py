"""Questions as addresses ask them, each a function of its parameters. Raise Refused.

What ranges of time mean is in `ranges.py`; their zone is the app's unless the address says another.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

from ingest.api import conditions, ranges
from ingest.api.parameters import Parameters, read_time
from ingest.api.refusals import invalid
from ingest.insights import bounds
from ingest.insights.places import Extract
from ingest.insights.questions import (
    Cursor,
    Events,
    Filter,
    Funnel,
    Interval,
    Measure,
    Names,
    PersonEvents,
    Question,
    Retention,
    Selection,
    Trends,
)
from ingest.store.app_settings import AppSettings

_INTERVALS: Final = get_args(Interval)
_PERIODS: Final = ("day", "week", "month")
_USUAL_WINDOW: Final = timedelta(days=7)
_USUAL_TOP: Final = 10
_PAGE: Final = 100
_MEASURES: Final = ("sum", "average", "min", "max")
_MEASURE: Final = (
    "write count, people, or sum, average, min, max, median or p1 to p99 of a field, as "
    "sum:params.amount"
)


class Asked(NamedTuple):
    """Who asks what, and when."""

    app: AppSettings
    parameters: Parameters
    now: datetime


class Kind(NamedTuple):
    """One kind of question: which parameters it has, and how they make it."""

    parameters: frozenset[str]
    read: Callable[[Asked], Question]


def trends(asked: Asked) -> Trends:
    """Return the question of `/v1/trends`."""
    given, zone = asked.parameters, asked.parameters.zone(asked.app.timezone)
    start, end = ranges.bounded(given, zone, asked.now)
    where = _where(given)
    breakdown = given.one("breakdown")
    return Trends(
        events=tuple(Selection(name, where) for name in given.many("event"))
        or (Selection(None, where),),
        start=start,
        end=end,
        interval=given.choice("interval", _INTERVALS, "day"),
        timezone=str(zone),
        measure=_measure(given.one("measure") or "count"),
        breakdown=None if breakdown is None else conditions.field("breakdown", breakdown),
        top=given.number("top", _USUAL_TOP, 1, bounds.TOP_MAX),
    )


def funnel(asked: Asked) -> Funnel:
    """Return the question of `/v1/funnel`."""
    given = asked.parameters
    steps = given.many("step")
    if not bounds.STEPS_MIN <= len(steps) <= bounds.STEPS_MAX:
        raise invalid(
            "step", f"give it {bounds.STEPS_MIN} to {bounds.STEPS_MAX} times, an event's name each"
        )
    start, end = ranges.bounded(given, given.zone(asked.app.timezone), asked.now)
    where, breakdown = _where(given), given.one("breakdown")
    return Funnel(
        steps=tuple(Selection(name, where) for name in steps),
        start=start,
        end=end,
        window=given.span("window") or _USUAL_WINDOW,
        breakdown=None if breakdown is None else conditions.field("breakdown", breakdown),
        top=given.number("top", _USUAL_TOP, 1, bounds.TOP_MAX),
    )


def retention(asked: Asked) -> Retention:
    """Return the question of `/v1/retention`."""
    given, zone = asked.parameters, asked.parameters.zone(asked.app.timezone)
    start, end = ranges.bounded(given, zone, asked.now)
    where = _where(given)
    return Retention(
        first=Selection(given.one("first"), where),
        then=Selection(given.one("then"), where),
        start=start,
        end=end,
        interval=given.choice("interval", _PERIODS, "week"),
        timezone=str(zone),
        kind=given.choice("kind", ("first_time", "recurring"), "first_time"),
        back=given.choice("back", ("on", "on_or_after"), "on"),
    )


def events(asked: Asked) -> Events:
    """Return the question of `/v1/events`."""
    given, zone = asked.parameters, asked.parameters.zone(asked.app.timezone)
    start, end = ranges.read(given, zone, asked.now)
    return Events(
        events=Selection(given.one("event"), _where(given)),
        start=start,
        end=end,
        before=_cursor(given),
        limit=given.number("limit", _PAGE, 1, bounds.LIMIT_MAX),
    )


def person_events(asked: Asked, person: str) -> PersonEvents:
    """Return the question of `/v1/people/PERSON/events`."""
    given = asked.parameters
    limit = given.number("limit", _PAGE, 1, bounds.LIMIT_MAX)
    return PersonEvents(person=person, before=_cursor(given), limit=limit)


def extract(asked: Asked) -> Extract:
    """Return what `/v1/export` is asked for, but for `after`."""
    given, zone = asked.parameters, asked.parameters.zone(asked.app.timezone)
    start, end = ranges.read(given, zone, asked.now)
    return Extract(Selection(given.one("event"), _where(given)), start, end)


def names(asked: Asked) -> Names:
    """Return the question of `/v1/names`."""
    return Names(top=asked.parameters.number("top", _USUAL_TOP, 0, bounds.TOP_MAX))


PERSON_PARAMETERS: Final = frozenset(("before", "limit"))
KINDS: Final[Mapping[str, Kind]] = {
    "/v1/trends": Kind(
        frozenset(("event", "interval", "measure", "breakdown", "top", "where", *ranges.NAMES)),
        trends,
    ),
    "/v1/funnel": Kind(
        frozenset(("step", "window", "breakdown", "top", "where", *ranges.NAMES)), funnel
    ),
    "/v1/retention": Kind(
        frozenset(("first", "then", "interval", "kind", "back", "where", *ranges.NAMES)), retention
    ),
    "/v1/events": Kind(frozenset(("event", "where", "before", "limit", *ranges.NAMES)), events),
    "/v1/names": Kind(frozenset(("top",)), names),
}
"""All but a person's events, whose address holds who that is."""


def _where(given: Parameters) -> Filter | None:
    return conditions.read_all("where", given.many("where"))


def _measure(text: str) -> Measure:
    if text in ("count", "people"):
        return Measure("count" if text == "count" else "people")
    word, _, field = text.partition(":")
    q = 0.5 if word == "median" else _percentile(word)
    if not field or (q is None and word not in _MEASURES):
        raise invalid("measure", _MEASURE)
    path = conditions.field("measure", field)
    if q is not None:
        return Measure("percentile", path, q)
    return next(Measure(kind, path) for kind in _MEASURES if kind == word)


def _percentile(word: str) -> float | None:
    """Return what `p95` means; None of another word."""
    digits = word.removeprefix("p")
    if word == digits or not digits.isascii() or not digits.isdigit() or len(digits) > 2:  # noqa: PLR2004
        return None
    return int(digits) / 100 or None


def _cursor(given: Parameters) -> Cursor | None:
    """Return the place that `before` names: AT,ID as the last answer has them."""
    text = given.one("before")
    if text is None:
        return None
    at, _, event_id = text.partition(",")
    try:
        return Cursor(read_time("before", at, ZoneInfo("UTC")).astimezone(UTC), UUID(event_id))
    except ValueError:
        raise invalid("before", "write AT,ID of the last answer's `before`") from None
