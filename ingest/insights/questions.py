"""What can be asked of one app's events: values that say nothing of how they are answered.

All times are aware datetimes and ranges are half open: `start` belongs to one, `end` does not.
Whether a question can be answered at all is said by `bounds.check`, as a `BadQuestion`.
"""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

Path = tuple[str, ...]
"""Where a value lies in an event: `("name",)`, `("person",)`, or `("params", "plan")` and deeper.

The keys are as the client wrote them: any text, case and dots included. `fields.read` makes a path
of `params.plan` or `params."a.b"`.
"""

PERSON: Path = ("person",)
"""Who did it, as events have joined their ids (`joined.py`)."""

Scalar = str | int | float | bool
Interval = Literal["hour", "day", "week", "month"]
Operator = Literal["eq", "ne", "gt", "lt", "ge", "le", "contains", "exists", "missing"]


class Condition(msgspec.Struct, frozen=True, tag="condition"):
    """One comparison; `exists` and `missing` take no value. `filters.py` defines each operator."""

    field: Path
    operator: Operator
    value: Scalar | None = None


class All(msgspec.Struct, frozen=True, tag="all"):
    """True of an event of which every part is true; without parts, of each event."""

    parts: tuple["Filter", ...]


class Either(msgspec.Struct, frozen=True, tag="either"):
    """True of an event of which a part is true; without parts, of none."""

    parts: tuple["Filter", ...]


Filter = Condition | All | Either


class Selection(msgspec.Struct, frozen=True):
    """Which events are meant: those of a name (None: of any), and of a filter."""

    name: str | None = None
    where: Filter | None = None


class Measure(msgspec.Struct, frozen=True):
    """What is measured: the last five kinds of a numeric field, `percentile` at 0 < q < 1."""

    kind: Literal["count", "people", "sum", "average", "min", "max", "percentile"] = "count"
    field: Path | None = None
    q: float | None = None


class Trends(msgspec.Struct, frozen=True, tag="trends"):
    """How much, in each interval of a range: answered with `TrendsAnswer` (`trends.py`)."""

    events: tuple[Selection, ...]
    start: datetime
    end: datetime
    interval: Interval = "day"
    timezone: str = "UTC"
    measure: Measure = Measure()
    breakdown: Path | None = None
    top: int = 10


class Funnel(msgspec.Struct, frozen=True, tag="funnel"):
    """How many get from step to step: answered with `FunnelAnswer` (`funnels.py`)."""

    steps: tuple[Selection, ...]
    start: datetime
    end: datetime
    window: timedelta
    breakdown: Path | None = None
    top: int = 10


class Retention(msgspec.Struct, frozen=True, tag="retention"):
    """How many come back, and when: answered with `RetentionAnswer` (`retention.py`).

    `first_time` puts a person into the cohort of their first such event ever, `recurring` into
    that of each period with one. `on` counts who is back in a period, `on_or_after` in it or later.
    """

    first: Selection
    then: Selection
    start: datetime
    end: datetime
    interval: Literal["day", "week", "month"] = "week"
    timezone: str = "UTC"
    kind: Literal["first_time", "recurring"] = "first_time"
    back: Literal["on", "on_or_after"] = "on"


class Cursor(msgspec.Struct, frozen=True):
    """A place in the order of events, which is by time and then by id."""

    at: datetime
    id: UUID


class Events(msgspec.Struct, frozen=True, tag="events"):
    """Events of a range, the latest first, from before a cursor: answered with `EventsAnswer`."""

    events: Selection = Selection()
    start: datetime | None = None
    end: datetime | None = None
    before: Cursor | None = None
    limit: int = 100


class PersonEvents(msgspec.Struct, frozen=True, tag="person_events"):
    """One person's events, the latest first, from before a cursor: an `EventsAnswer` as well."""

    person: str
    before: Cursor | None = None
    limit: int = 100


class OneEvent(msgspec.Struct, frozen=True, tag="event"):
    """The event of an id, if it lies in a range: an `EventsAnswer` of one event, or of none."""

    id: UUID
    start: datetime | None = None
    end: datetime | None = None


class Group(msgspec.Struct, frozen=True):
    """One group of a breakdown, as an answer has them: `others` are all that have a value's own."""

    kind: Literal["value", "none", "other"]
    value: str | None = None
    others: tuple[str, ...] = ()


class People(msgspec.Struct, frozen=True, tag="people"):
    """Who is behind a figure of a trend, in one group if that is broken down: a `PeopleAnswer`."""

    events: Selection
    start: datetime
    end: datetime
    breakdown: Path | None = None
    group: Group | None = None
    limit: int = 100


class FunnelPeople(msgspec.Struct, frozen=True, tag="funnel_people"):
    """Who came to a step of a funnel, from 1, or (`stopped`) no further: a `PeopleAnswer`."""

    funnel: Funnel
    step: int
    way: Literal["reached", "stopped"] = "reached"
    group: Group | None = None
    limit: int = 100


class Names(msgspec.Struct, frozen=True, tag="names"):
    """Which names and parameters there are: answered with `NamesAnswer` (`menu.py`)."""

    top: int = 10
    """How many of a parameter's values are listed."""


Question = (
    Trends | Funnel | Retention | Events | PersonEvents | OneEvent | People | FunnelPeople | Names
)
