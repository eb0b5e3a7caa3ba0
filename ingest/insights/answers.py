"""What is answered: values that go to JSON as they are.

All times are aware: in the question's zone where it has one, otherwise in UTC.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from ingest.insights.questions import Cursor, Path

Kind = Literal["all", "value", "none", "other"]
"""Of a group: of all events; of one value; of those that have none; of all further values."""


class Series(msgspec.Struct, frozen=True):
    """One line of a trend: a value for each bucket, and the measure of the whole range.

    `total` is measured over the range, so that for people and averages it is no sum of `values`.
    Where nothing was to measure a value is 0 of counts and sums, and null of the others.
    """

    event: int
    """Which of the question's events, from 0."""
    group: Kind
    value: str | None
    values: tuple[int | float | None, ...]
    total: int | float | None


class TrendsAnswer(msgspec.Struct, frozen=True, tag="trends"):
    """The buckets' beginnings, and the series: of each event the greatest first, then the rest.

    The first and the last bucket are partial where the range begins or ends within them;
    the last one also while it is not over.
    """

    buckets: tuple[datetime, ...]
    series: tuple[Series, ...]
    partial_first: bool
    partial_last: bool


class FunnelStep(msgspec.Struct, frozen=True):
    """How many people got to a step, and the median time they took from the step before."""

    people: int
    median_s: float | None


class FunnelGroup(msgspec.Struct, frozen=True):
    """The steps of everybody, or of those with a value in their first step."""

    group: Kind
    value: str | None
    steps: tuple[FunnelStep, ...]
    conversion: float | None
    """Of those at the first step, the share that got to the last; null where nobody began."""


class FunnelAnswer(msgspec.Struct, frozen=True, tag="funnel"):
    """Everybody first, and with a breakdown the groups: the greatest first, then the rest."""

    groups: tuple[FunnelGroup, ...]
    partial: bool
    """The window of the latest first steps is not over yet: figures may still grow."""


class Cohort(msgspec.Struct, frozen=True):
    """Those of one period, and how many of them were back in it and in each one after it."""

    start: datetime
    people: int
    back: tuple[int, ...]


class RetentionAnswer(msgspec.Struct, frozen=True, tag="retention"):
    """A cohort for each period of the range; later ones have fewer periods behind them.

    The last figure of every cohort is partial where the last period is not over.
    """

    cohorts: tuple[Cohort, ...]
    partial_last: bool


class Event(msgspec.Struct, frozen=True):
    """One event as it was stored; `params` is a JSON object."""

    id: UUID
    at: datetime
    created_at: datetime
    name: str
    person: str | None
    params: msgspec.Raw


class EventsAnswer(msgspec.Struct, frozen=True, tag="events"):
    """The latest events first; `before` is the cursor for the next page, null on the last one."""

    events: tuple[Event, ...]
    before: Cursor | None


class Person(msgspec.Struct, frozen=True):
    """Somebody, with how many of the events, or how many steps of the funnel, and when last."""

    id: str
    count: int
    latest: datetime


class PeopleAnswer(msgspec.Struct, frozen=True, tag="people"):
    """Those who have most, of equally many those who were there last; and how many there are."""

    people: tuple[Person, ...]
    total: int
    """The figure that these people are behind."""
    events: int | None
    """How many events there are, those of nobody too; null of a funnel."""


class ValueCount(msgspec.Struct, frozen=True):
    """One value of a parameter as text, and in how many of the events looked into."""

    value: str
    count: int


class Parameter(msgspec.Struct, frozen=True):
    """A parameter that was seen: in how many of the events looked into, its types and values.

    `types` counts `text`, `number`, `boolean`, `null`, `list`, and `object`.
    """

    path: Path
    count: int
    types: dict[str, int]
    top: tuple[ValueCount, ...]


class NameUse(msgspec.Struct, frozen=True):
    """A name: in how many events, when last, and the parameters of those looked into."""

    name: str
    count: int
    latest: datetime
    sampled: int
    """How many of its events were looked into: the latest ones."""
    parameters: tuple[Parameter, ...]


class NamesAnswer(msgspec.Struct, frozen=True, tag="names"):
    """All names, the most frequent first; of how many events, and how many were looked into."""

    names: tuple[NameUse, ...]
    events: int
    sampled: int


Answer = TrendsAnswer | FunnelAnswer | RetentionAnswer | EventsAnswer | PeopleAnswer | NamesAnswer
