"""Which events a view is of, and how many of its tail, as those come from Postgres one by one."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

Place = tuple[datetime, UUID]
"""Where an event lies in the order by time and id."""


class All(NamedTuple):
    """The whole tail."""

    has_params: bool = True
    """Or empty parameters, which cost Postgres less: where nobody asks for any."""


class Nothing(NamedTuple):
    """Nothing of the tail, if it has not too many events to be read."""


class One(NamedTuple):
    """The event of this id, if it is in the tail."""

    id: UUID


class First(NamedTuple):
    """The first events of the tail, in order, of those that lie behind a place if one is given."""

    rows: int
    """At least 1."""
    after: Place | None


Portion = All | Nothing | One | First


class Scope(NamedTuple):
    """Those of [start, end); where there is no bound, all. The archive's are always whole."""

    start: datetime | None = None
    end: datetime | None = None
    tail: Portion = All()
    has_people: bool = True
    """Or nothing of who is who, where nobody asks for people."""
