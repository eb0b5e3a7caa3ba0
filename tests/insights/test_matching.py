"""A filter is true of an event at hand when it is true of it in the archive."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.insights.answers import EventsAnswer
from ingest.insights.matching import Event, matcher
from ingest.insights.questions import All, Condition, Either, Events, Filter, Selection
from tests.insights import oracle
from tests.insights.test_filters import filters
from tests.insights.world import Stored, events, world

AT = datetime(2026, 6, 15, tzinfo=UTC)
WRITTEN = [
    *("5", "5.0", "5.00", "-0.0", "0.00000015", "1000000000000000000000", "9007199254740993"),
    *("9223372036854775807", "18446744073709551616", "12345678901234567.8"),
    *(
        "true",
        "null",
        '""',
        '"5"',
        '" 5 "',
        '"05"',
        '"1e5"',
        '"1_000"',
        '"inf"',
        '"٣"',
        '"\\u00a05"',
    ),
    *("[1]", "{}"),
]
"""JSON as Postgres prints it."""
ASKED = ["5", "5.0", "1e5", "1000", "1e21", "9223372036854775808", "1.5e-7", "true", "abc", ""]


def at_hand(stored: Stored) -> Event:
    """Return an event as it is read by itself."""
    return Event(stored.name, stored.person, orjson.loads(orjson.dumps(stored.params)))


@settings(max_examples=50, deadline=None)
@given(events(AT), st.lists(filters(), min_size=8, max_size=8))
def test_filter_is_true_of_an_event_as_its_definition_says(
    stored: list[Stored], wheres: list[Filter]
) -> None:
    """Whatever it is made of."""
    for where in wheres:
        matches = matcher(where)
        for event in stored:
            assert matches(at_hand(event)) == oracle.is_true(where, event), (where, event)


@pytest.mark.parametrize("written", WRITTEN)
def test_filter_is_true_of_the_same_events_as_in_the_archive(tmp_path: Path, written: str) -> None:
    """Of numbers of every size, and of texts that look like some."""
    event = Stored(UUID(int=1), AT, "view", "a", {"x": orjson.loads(written)})
    field = ("params", "x")
    compared = [
        Condition(field, operator, asked)
        for operator in ("eq", "ne", "gt", "lt", "ge", "le")
        for asked in ASKED
    ]
    wheres: list[Filter] = [*compared, Condition(field, "exists"), All(()), Either(())]
    with world(tmp_path, [event], []) as asked_world:
        for where in wheres:
            found = asked_world.ask(Events(Selection(where=where)))
            assert isinstance(found, EventsAnswer)
            assert matcher(where)(at_hand(event)) == bool(found.events), where
