"""Lists of events have each event once, the latest first, whole as it was sent."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.insights import listing
from ingest.insights.answers import Event, EventsAnswer
from ingest.insights.questions import (
    All,
    Condition,
    Either,
    Events,
    Filter,
    OneEvent,
    PersonEvents,
    Selection,
)
from tests.insights import oracle
from tests.insights.world import Stored, World, events, world

AT = datetime(2026, 6, 15, tzinfo=UTC)


def pages(one: World, question: Events | PersonEvents) -> list[list[Event]]:
    """Read all pages."""
    found: list[list[Event]] = []
    before = question.before
    while before is not None or not found:
        if isinstance(question, Events):
            asked: Events | PersonEvents = Events(
                question.events, question.start, question.end, before, question.limit
            )
        else:
            asked = PersonEvents(question.person, before, question.limit)
        page = one.ask(asked)
        assert isinstance(page, EventsAnswer)
        found.append(list(page.events))
        before = page.before
    return found


@settings(max_examples=40, deadline=None)
@given(events(AT), events(AT), st.integers(1, 7), st.sampled_from([None, "view"]))
def test_pages_have_each_event_of_the_range_once(
    archived: list[Stored], tail: list[Stored], limit: int, name: str | None
) -> None:
    """Over the archive and the tail, in the order of time and id, and as they were sent."""
    known = {event.id for event in archived}
    tail = [event for event in tail if event.id not in known]
    start, end = AT - timedelta(hours=20), AT + timedelta(hours=20)
    with TemporaryDirectory() as directory, world(Path(directory), archived, tail) as one:
        found = pages(one, Events(Selection(name), start, end, limit=limit))
    meant = [
        event
        for event in oracle.meant(Selection(name), archived + tail)[::-1]
        if start <= event.at < end
    ]
    assert all(len(page) == limit for page in found[:-1])
    rows = [event for page in found for event in page]
    assert [(e.id, e.at, e.name, e.person) for e in rows] == [
        (e.id, e.at, e.name, e.person) for e in meant
    ]
    assert [json.loads(bytes(e.params)) for e in rows] == [e.params for e in meant]


@pytest.mark.parametrize("few", [0, 1_000])
def test_persons_events_are_theirs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Also of one whose name is a number, 5 is not 5.0; of many events and of few."""
    monkeypatch.setattr(listing, "_FEW", few)
    people = ["5", "5.0", "05", None, "it's", ""]
    rows = [
        Stored(UUID(int=n), AT + n * timedelta(days=n), "view", people[n % len(people)], {})
        for n in range(30)
    ]
    with world(tmp_path, rows[:20], rows[20:]) as one:
        for person in ("5", "5.0", "it's", "", "nobody"):
            found = [e for page in pages(one, PersonEvents(person, limit=2)) for e in page]
            assert [e.id for e in found] == [e.id for e in rows[::-1] if e.person == person]


def test_page_of_large_events_ends_early_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one person's as well; one that is larger than a page has a page to itself."""
    monkeypatch.setattr(listing, "PAGE_BYTES_MAX", 300)
    rows = [
        Stored(UUID(int=n), AT + n * timedelta(hours=n), "view", "a", {"text": "x" * size})
        for n, size in enumerate([10, 100, 1_000, 100, 100, 100, 10, 10, 400])
    ]
    with world(tmp_path, rows[:5], rows[5:]) as one:
        for question in (Events(limit=6), PersonEvents("a", limit=6)):
            found = pages(one, question)
            assert [e.id for page in found for e in page] == [e.id for e in rows[::-1]]
            sizes = [sum(len(bytes(e.params)) for e in page) for page in found]
            assert all(size <= 300 for size, page in zip(sizes, found, strict=True) if page[1:])
            assert max(map(len, found)) > 1


PARAMETER = Condition(("params", "plan"), "exists")
PERSON = Condition(("person",), "eq", "a")
FILTERS = (
    None,
    PARAMETER,
    PERSON,
    All((PARAMETER, PERSON)),
    Either((PARAMETER, PERSON)),
    Either((PERSON, Condition(("name",), "eq", "buy"))),
    All((Either(()), PERSON)),
    All((All(()), Either((All((PARAMETER, PERSON)), PERSON)))),
)


@pytest.mark.parametrize("gap", [timedelta(0), timedelta(hours=6), timedelta(days=2)])
@pytest.mark.parametrize("where", FILTERS, ids=str)
def test_events_far_apart_are_the_same_read_in_stretches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: timedelta, where: Filter | None
) -> None:
    """Whatever they are found by, and though there are more gaps than stretches."""
    monkeypatch.setattr(listing, "_gap", lambda _: gap)
    monkeypatch.setattr(listing, "_STRETCHES_MAX", 5)
    rows = [
        Stored(
            UUID(int=n),
            AT + (n // 3) ** 2 * timedelta(hours=1),
            "buy" if n % 5 == 0 else "view",
            "ab"[n % 2],
            {"plan": n} if n % 3 else {},
        )
        for n in range(60)
    ]
    with world(tmp_path, rows[:40], rows[40:]) as one:
        found = [e for page in pages(one, Events(Selection(None, where), limit=17)) for e in page]
    meant = oracle.meant(Selection(None, where), rows)[::-1]
    assert [(e.id, json.loads(bytes(e.params))) for e in found] == [(e.id, e.params) for e in meant]


def test_event_of_an_id_is_found_in_its_range_alone(tmp_path: Path) -> None:
    """In a file and in the tail."""
    rows = [
        Stored(UUID(int=n), AT + n * timedelta(hours=1), "view", "a", {"n": n}) for n in range(6)
    ]
    with world(tmp_path, rows[:3], rows[3:]) as one:
        for row in rows:
            for start, end, count in (
                (None, None, 1),
                (row.at, row.at + timedelta(microseconds=1), 1),
                (None, row.at, 0),
                (row.at + timedelta(microseconds=1), None, 0),
            ):
                found = one.ask(OneEvent(row.id, start, end))
                assert isinstance(found, EventsAnswer)
                assert [(e.id, json.loads(bytes(e.params))) for e in found.events] == [
                    (row.id, row.params)
                ] * count
                assert found.before is None
