"""What is erased is what the person's page shows, to the event: whatever ids, joined however."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.archive.view import Views
from ingest.insights import engine
from ingest.insights.answers import EventsAnswer
from ingest.insights.questions import PersonEvents
from ingest.store import person
from tests.archive.archiving import APP, MEMORY_MAX, archive, ask, store
from tests.privacy.erasing import erase

IDS = ("1", "1.0", "01", "a", "A", "a ", "ä", "a\u0308", "anon-1", "anon-2", "x'y", "null", "7e2")
FIELDS = ("user_id", "$user_id", "$anonymous_id", "$device_id", "distinct_id", "email", "n")
NUMBERS = (1, 1.0, 700, 7e2, 0, -0.0, True, None, 10**20, [1, "a"], {"b": 1, "aa": 2.50})


def made(chance: random.Random) -> dict[str, Any]:
    """Return an event's parameters: some ids here and there."""
    names = chance.sample(FIELDS, chance.randint(0, 3))
    return {
        name: chance.choice(NUMBERS) if chance.random() < 0.2 else chance.choice(IDS)
        for name in names
    }


def shown(url: str, path: Path, who: str) -> set[str]:
    """Return the events that a person's page has."""
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    try:
        with views.view(app_id=APP) as view:
            question = PersonEvents(who, limit=1_000)
            now = datetime.now(UTC)
            answer = engine.answer(
                view.connection, view.sources, question, now, view.known, view.links
            )
            assert isinstance(answer, EventsAnswer)
            return {str(each.id) for each in answer.events}
    finally:
        views.rest()


def stored(url: str) -> set[str]:
    """Return the ids of all events of both apps."""
    return {str(each) for (each,) in ask(url, "SELECT id FROM events")}


@pytest.mark.parametrize("seed", range(4))
def test_what_goes_is_what_the_page_shows(seed: int, url: str, path: Path) -> None:
    """Also where another parameter says by now who it is."""
    chance = random.Random(seed)
    for n in range(3):
        store(url, [made(chance) for _ in range(120)])
        store(url, [made(chance) for _ in range(20)], app_id=2)
        if n < 2:
            archive(url, path)
    if seed % 2:
        ask(url, "UPDATE apps SET user_field = 'email'")
    for who in chance.sample(IDS, 3):
        before, theirs = stored(url), shown(url, path, who)
        done = erase(url, path, who)
        assert done.events == len(theirs)
        assert stored(url) == before - theirs


def documents() -> Iterator[str]:
    """Yield parameters as they may be sent."""
    numbers = ("1", "1.0", "-0", "-0.0", "1e2", "1.50e1", "12E-3", "0.1234567890123456789", "1e-7")
    values = (*numbers, *(f'"{each}"' for each in IDS), "true", "false", "null", '""', "[]", "{}")
    yield from (f'{{"user_id": {each}}}' for each in values)
    yield from (f'{{"$user_id": {each}, "distinct_id": "d"}}' for each in values)
    yield '{"user_id": [1, 1e2, "a\\u00e9\\n\\"", {"bb": 1, "a": [null, true]}]}'
    yield '{"user_id": "first", "user_id": "last"}'
    yield '{"user_id": null, "$anonymous_id": " Anonymous ", "$device_id": "d"}'
    yield '{"a": {"user_id": "deeper"}}'
    yield "{}"


def test_id_of_a_document_is_that_of_the_row_that_it_becomes(url: str) -> None:
    """So what waits in a spool is told apart by the same rule."""
    for document in documents():
        sql = "SELECT " + person.of_row("'user_id'", "($1::text::jsonb)")
        assert ask(url, sql, document) == [(person.of_document("user_id", document),)], document
