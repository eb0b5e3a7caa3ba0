"""Lists of events, the latest first: by their time `at`, and by id where times are equal.

A page ends at its limit, or at PAGE_BYTES_MAX; the next one begins before the cursor of its last
event, so that each event is on one page, whatever arrives meanwhile (one that is later than the
cursor is on none).

What is asked for is the latest, so it is looked for from the end: in the last hour, then in four
times as much before it, and so on, until there are enough. Only then are whole events read, by
their times and ids: a sort of whole events took 12 s of CPU for 5 M of them, this 0.1. Of a person
who has few all are read at once: they lie anywhere, and each look for some costs as much.

Few events of a long time are read stretch by stretch, without the events between: DuckDB makes
all parameters of each row group that it touches, 20 ms of CPU each. What it has found by a
parameter it is not asked for again: with that it took 3.6 s for 16 of 2 M events, without 0.4.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, pairwise
from typing import Any, Final, NamedTuple, assert_never
from uuid import UUID

import msgspec

from ingest.insights.answers import Event, EventsAnswer
from ingest.insights.calendar import moment
from ingest.insights.filters import chosen
from ingest.insights.questions import (
    PERSON,
    All,
    Condition,
    Cursor,
    Either,
    Events,
    Filter,
    OneEvent,
    PersonEvents,
    Selection,
)
from ingest.insights.sql import Source, Values, within

PAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A page of larger events ends before its limit."""

_FEW: Final = 1_000
_FIRST_SPAN: Final = timedelta(hours=1)
_GROWTH: Final = 4
_ROWS_AT_ONCE: Final = 122_880
"""Of a file, that DuckDB writes and reads together."""
_STRETCHES_MAX: Final = 64
_INSTANT: Final = timedelta(microseconds=1)
_PARAMS: Final = "params::JSON::VARCHAR"


class _Found(NamedTuple):
    """An event, and how many were found with it."""

    event: Event
    of: int


def answer(source: Source, question: Events | PersonEvents | OneEvent) -> EventsAnswer:
    """Return one page of events, and where the next one begins."""
    match question:
        case Events():
            return _of_range(source, question)
        case PersonEvents():
            return _of_person(source, question)
        case OneEvent():
            return _of_id(source, question)
        case _:
            assert_never(question)


def _of_range(source: Source, question: Events) -> EventsAnswer:
    found = _latest(source, question)
    values = source.values()
    wheres = _at(source, found[: question.limit], question, values)
    return _page(_events(source, wheres, values, question.limit), len(found), question.limit)


def _of_person(source: Source, question: PersonEvents) -> EventsAnswer:
    whose = Condition(PERSON, "eq", question.person)
    events = Events(Selection(where=whose), before=question.before, limit=question.limit)
    values = source.values()
    where = [*chosen(events.events, values), *_before(events, values)]
    found = _events(source, [where], values, _FEW + 1)
    first = next(found, None)
    count = 0 if first is None else first.of
    if count > _FEW:
        return _of_range(source, events)
    return _page(chain([first] if first else [], found), count, question.limit)


def _of_id(source: Source, question: OneEvent) -> EventsAnswer:
    values = source.values()
    where = [*within(question.start, question.end, values), f"id = {values.bind(question.id)}"]
    found = [event for event, _ in _events(source, [where], values, 1)]
    return EventsAnswer(events=tuple(found), before=None)


def sample(source: Source, limit: int, bytes_max: int) -> list[tuple[str, str]]:
    """Return name and parameters of the latest events; empty ones of longer ones."""
    question = Events(limit=limit)
    values = source.values()
    wheres = _at(source, _latest(source, question)[:limit], question, values)
    long = values.bind(bytes_max)
    texts = _leaves(source, {"name": "name", "text": _PARAMS}, wheres)
    sql = f"SELECT name, CASE WHEN strlen(text) <= {long} THEN text ELSE '{{}}' END FROM ({texts})"
    return source.rows(sql, values)


def _latest(source: Source, question: Events) -> list[Cursor]:
    """Return where the events of a page are, and one more if there is one."""
    found: list[Cursor] = []
    for start, end in _spans(source, question):
        found += _places(source, question, start, end, question.limit + 1 - len(found))
        if len(found) > question.limit:
            break
    return found


def _page(found: Iterable[_Found], count: int, limit: int) -> EventsAnswer:
    """Return as many of so many events as a page may have; at least one."""
    page: list[Event] = []
    size = 0
    for event, _ in found:
        size += len(bytes(event.params))
        if page and (len(page) == limit or size > PAGE_BYTES_MAX):
            break
        page.append(event)
    return EventsAnswer(
        events=tuple(page),
        before=Cursor(page[-1].at, page[-1].id) if len(page) < count else None,
    )


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
    values = source.values()
    times = source.leaves({"at": '"at"'}, within(start, end, values))
    sql = f'SELECT epoch_us(min("at")), epoch_us(max("at")) FROM ({times})'
    ((earliest, latest),) = source.rows(sql, values)
    return None if earliest is None else (moment(earliest), moment(latest + 1))


def _places(
    source: Source, question: Events, start: datetime, end: datetime, limit: int
) -> list[Cursor]:
    """Return where the latest events of a span are."""
    values = source.values()
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


def _at(source: Source, page: list[Cursor], question: Events, values: Values) -> list[list[str]]:
    """Return the conditions of the events at some places, for each stretch of time."""
    wheres = []
    for stretch in _stretches(page, _gap(source)):
        where = within(stretch[-1].at, stretch[0].at + _INSTANT, values)
        where += chosen(_of_columns(question.events), values)  # what has none is not read at all
        where.append(f"list_contains({values.bind([place.id for place in stretch])}::UUID[], id)")
        wheres.append(where)
    return wheres or [["false"]]


def _stretches(page: list[Cursor], gap: timedelta) -> list[list[Cursor]]:
    """Return places in their order, parted at the longest of what is longer than a gap."""
    gaps = [(later.at - earlier.at, n) for n, (later, earlier) in enumerate(pairwise(page), 1)]
    cuts = [n for length, n in sorted(gaps)[1 - _STRETCHES_MAX :] if length > gap]
    return [page[start:end] for start, end in pairwise((0, *sorted(cuts), len(page))) if page]


def _gap(source: Source) -> timedelta:
    """Return how long it takes until there are as many events as DuckDB reads at once."""
    known = source.known
    if known is None or known.ends is None or not known.archived:
        return timedelta.max
    earliest, end = known.ends
    return (end - earliest) * _ROWS_AT_ONCE / known.archived


def _of_columns(selection: Selection) -> Selection:
    """Return a selection without what asks for parameters."""
    return Selection(selection.name, _without_params(selection.where))


def _without_params(where: Filter | None) -> Filter | None:
    """Return a filter that is true of all of which this one is, and asks for no parameter."""
    match where:
        case None:
            return None
        case Condition():
            return None if where.field[0] == "params" else where
        case All():
            return All(tuple(part for each in where.parts if (part := _without_params(each))))
        case Either():
            parts = [_without_params(each) for each in where.parts]
            whole = tuple(part for part in parts if part is not None)
            return Either(whole) if len(whole) == len(parts) else None
        case _:
            assert_never(where)


def _leaves(source: Source, columns: Mapping[str, str], wheres: Iterable[Sequence[str]]) -> str:
    return " UNION ALL ".join(source.leaves(columns, where) for where in wheres)


def _events(
    source: Source, wheres: list[list[str]], values: Values, limit: int
) -> Iterator[_Found]:
    """Yield whole events of one or another condition, the latest first; of too many any."""
    events = _leaves(
        source,
        {
            "id": "id",
            "t": 'epoch_us("at")',
            "created": "epoch_us(created_at)",
            "name": "name",
            "person": "person",
            "params": _PARAMS,
        },
        wheres,
    )
    some = f"SELECT * FROM ({events}) LIMIT {values.bind(limit)}"
    sql = f"SELECT *, count(*) OVER () FROM ({some}) ORDER BY t DESC, id DESC"
    for *row, of in source.stream(sql, values):
        yield _Found(_event(row), of)


def _event(row: Sequence[Any]) -> Event:
    event_id, at, created_at, name, person, params = row
    raw = msgspec.Raw(b"{}" if params is None else params.encode())
    return Event(_uuid(event_id), moment(at), moment(created_at), name, person, raw)


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
