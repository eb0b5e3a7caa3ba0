"""Lists of events, the latest first: by their time `at`, and by id where times are equal.

A page ends at its limit; the next one begins before the cursor of its last event, so that each
event is on one page, whatever arrives meanwhile (one that is later than the cursor is on none).

What is asked for is the latest, so it is looked for from the end: in the last hour, then in four
times as much before it, and so on, until there are enough. Only then are whole events read, by
their times and ids: a sort of whole events took 12 s of CPU for 5 M of them, this 0.1. Of a person
who has few all are read at once: they lie anywhere, and each look for some costs as much.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from ingest.insights.answers import Event, EventsAnswer
from ingest.insights.calendar import moment
from ingest.insights.filters import chosen
from ingest.insights.questions import Condition, Cursor, Events, PersonEvents, Selection
from ingest.insights.sql import Source, Values, within

_FEW: Final = 1_000
_FIRST_SPAN: Final = timedelta(hours=1)
_GROWTH: Final = 4
_INSTANT: Final = timedelta(microseconds=1)


def answer(source: Source, question: Events) -> EventsAnswer:
    """Return one page of events, and where the next one begins."""
    found: list[Cursor] = []
    for start, end in _spans(source, question):
        missing = question.limit + 1 - len(found)
        found += _places(source, question, start, end, missing)
        if len(found) > question.limit:
            break
    page = found[: question.limit]
    return EventsAnswer(
        events=tuple(_read(source, question, page)),
        before=page[-1] if len(found) > question.limit else None,
    )


def of_person(source: Source, question: PersonEvents) -> EventsAnswer:
    """Return one page of a person's events."""
    whose = Condition(("person",), "eq", question.person)
    events = Events(Selection(where=whose), before=question.before, limit=question.limit)
    values = Values()
    where = [*chosen(events.events, values), *_before(events, values)]
    found = _events(source, where, values, _FEW + 1)
    if len(found) > _FEW:
        return answer(source, events)
    page = found[: question.limit]
    has_more = len(found) > question.limit
    return EventsAnswer(tuple(page), Cursor(page[-1].at, page[-1].id) if has_more else None)


def _spans(source: Source, question: Events) -> Iterator[tuple[datetime, datetime]]:
    """Yield the parts of the range that is left, the latest first."""
    bounds = _ends(source, question)
    if bounds is None:
        return
    earliest, end = bounds
    span = _FIRST_SPAN
    while end > earliest:
        start = max(earliest, end - span)
        yield start, end
        end, span = start, span * _GROWTH


def _ends(source: Source, question: Events) -> tuple[datetime, datetime] | None:
    """Return from when and until when there are events that the question may mean."""
    start, end = question.start, question.end
    if question.before is not None:
        last = question.before.at + _INSTANT
        end = last if end is None else min(end, last)
    if source.known is None:
        return _ends_of_range(source, start, end)
    ends = source.known.ends
    if ends is None:
        return None
    return (max(start or ends[0], ends[0]), min(end or ends[1], ends[1]))


def _ends_of_range(
    source: Source, start: datetime | None, end: datetime | None
) -> tuple[datetime, datetime] | None:
    values = Values()
    times = source.leaves({"at": '"at"'}, within(start, end, values))
    sql = f'SELECT epoch_us(min("at")), epoch_us(max("at")) FROM ({times})'
    ((earliest, latest),) = source.rows(sql, values)
    return None if earliest is None else (moment(earliest), moment(latest + 1))


def _places(
    source: Source, question: Events, start: datetime, end: datetime, limit: int
) -> list[Cursor]:
    """Return where the latest events of a span are."""
    values = Values()
    where = [*within(start, end, values), *chosen(question.events, values)]
    where += _before(question, values)
    places = source.leaves({"t": 'epoch_us("at")', "id": "id"}, where)
    sql = f"SELECT t, id FROM ({places}) ORDER BY t DESC, id DESC LIMIT {values.bind(limit)}"
    return [Cursor(moment(t), _uuid(row)) for t, row in source.rows(sql, values)]


def _before(question: Events, values: Values) -> list[str]:
    """Return the condition of what comes behind the page before."""
    if question.before is None:
        return []
    at, row = values.bind(question.before.at), values.bind(question.before.id)
    return [f'("at" < {at} OR ("at" = {at} AND id < {row}::UUID))']


def _read(source: Source, question: Events, page: list[Cursor]) -> list[Event]:
    """Return the events at some places, in their order."""
    if not page:
        return []
    values = Values()
    where = within(page[-1].at, page[0].at + _INSTANT, values)
    where += chosen(question.events, values)  # again: what has none of them is not read at all
    where.append(f"list_contains({values.bind([place.id for place in page])}::UUID[], id)")
    return _events(source, where, values, len(page))


def _events(source: Source, where: list[str], values: Values, limit: int) -> list[Event]:
    """Return whole events, the latest first; of more than the limit any."""
    events = source.leaves(
        {
            "id": "id",
            "t": 'epoch_us("at")',
            "created": "epoch_us(created_at)",
            "name": "name",
            "person": "person",
            "params": "params::JSON::VARCHAR",
        },
        where,
    )
    sql = f"SELECT * FROM ({events}) LIMIT {values.bind(limit)}"
    found = [_event(row) for row in source.rows(sql, values)]
    return sorted(found, key=lambda event: (event.at, event.id), reverse=True)


def _event(row: tuple[Any, ...]) -> Event:
    event_id, at, created_at, name, person, params = row
    raw = msgspec.Raw(b"{}" if params is None else params.encode())
    return Event(_uuid(event_id), moment(at), moment(created_at), name, person, raw)


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
