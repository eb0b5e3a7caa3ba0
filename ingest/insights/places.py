"""Events in order: by time, and those of one time by id.

That order is total and an event never changes its place in it. So whoever has come to an event gets
all that lie behind it by its place, each once, whatever has come in since; what has come in with an
earlier time than that lies before it, and is not told any more.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from ingest.insights.questions import Cursor, Selection

Reach = tuple[datetime | None, datetime | None]
"""From when on, and until when; None for no bound."""


class Row(NamedTuple):
    """One event, as it is told."""

    id: UUID
    at: datetime
    created_at: datetime
    name: str
    person: str | None
    params: str
    """A JSON object."""

    @property
    def place(self) -> Cursor:
        """Where it lies."""
        return Cursor(self.at, self.id)


class Page(NamedTuple):
    """Some events in order, to be read once."""

    rows: Iterator[Row]
    end: Cursor | None
    """Up to where they are all there are; None if nothing lies behind them."""


class Extract(NamedTuple):
    """Which events are meant: of a selection and a range, behind a place and up to one."""

    selection: Selection
    start: datetime | None
    end: datetime | None
    after: Cursor | None = None
    until: Cursor | None = None
    """Up to an event, which belongs to it."""

    @property
    def reach(self) -> Reach:
        """Of which time they are."""
        return self.after.at if self.after is not None else self.start, self.end

    def parts(self, hours: Sequence[tuple[datetime, int]], size: int) -> Iterator["Extract"]:
        """Yield what it consists of, in order, each part of about so many events.

        `hours` are the beginnings of its hours and how many events each has.
        """
        cuts: list[datetime] = []
        events = 0
        for hour, count in hours:
            if events and events + count > size:
                cuts.append(hour)
                events = 0
            events += count
        for number, (start, end) in enumerate(pairwise((self.start, *cuts, self.end))):
            yield Extract(self.selection, start, end, None if number else self.after)
