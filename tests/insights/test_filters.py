"""Filters mean what their docstring says, of values of every type under every key."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.insights import fields
from ingest.insights.answers import EventsAnswer
from ingest.insights.errors import BadQuestion
from ingest.insights.questions import All, Condition, Either, Events, Filter, Selection
from tests.insights import oracle
from tests.insights.world import Stored, events, scalars, texts, world

AT = datetime(2026, 6, 15, tzinfo=UTC)
SCALAR_FIELDS = [
    ("name",),
    ("person",),
    *((("params", key)) for key in ["plan", "Plan", "a.b", 'q"', "", "it's", "none"]),
    ("params", "deep", "x"),
    ("params", "deep", "X"),
    ("params", "deep", "a.b"),
]


def conditions() -> st.SearchStrategy[Filter]:
    """Any condition, of values that are often there."""
    compared = st.builds(
        Condition,
        st.sampled_from(SCALAR_FIELDS),
        st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "contains"]),
        scalars().filter(lambda value: value is not None) | texts(),
    )
    there = st.builds(
        Condition,
        st.sampled_from([*SCALAR_FIELDS, ("params", "list"), ("params", "deep")]),
        st.sampled_from(["exists", "missing"]),
    )
    return compared | there


def filters() -> st.SearchStrategy[Filter]:
    """Trees of conditions."""
    return st.recursive(
        conditions(),
        lambda inner: st.builds(
            lambda kind, parts: kind(tuple(parts)),
            st.sampled_from([All, Either]),
            st.lists(inner, max_size=3),
        ),
        max_leaves=5,
    )


@settings(max_examples=30, deadline=None)
@given(events(AT), events(AT), st.lists(filters(), min_size=8, max_size=8))
def test_filter_means_the_events_that_its_definition_says(
    archived: list[Stored], tail: list[Stored], wheres: list[Filter]
) -> None:
    """In the archive and the tail."""
    tail = [event for event in tail if event.id not in {one.id for one in archived}]
    with TemporaryDirectory() as directory, world(Path(directory), archived, tail) as asked:
        for where in wheres:
            found = asked.ask(Events(Selection(where=where), limit=1000))
            assert isinstance(found, EventsAnswer)
            expected = oracle.meant(Selection(where=where), archived + tail)[::-1]
            assert [event.id for event in found.events] == [event.id for event in expected]


@pytest.mark.parametrize(
    ("sent", "asked", "is_equal"),
    [
        ("5", 5, True),
        (5, "5", True),
        (5.0, 5, True),
        (5, "5.0", True),
        ("5.0", 5, True),
        ("05", 5, False),
        ("12e4", "12e4", True),
        ("120000", "12e4", True),
        (True, "true", True),
        ("true", True, True),
        (True, 1, False),
        (None, "null", False),
        ("", "", True),
        ("Pro", "pro", False),
        (2**53 + 1, 2**53 + 1, True),
        (2**53 + 1, 2**53, False),
    ],
    ids=repr,
)
def test_values_are_equal_when_their_texts_are(
    tmp_path: Path, sent: object, asked: str | float, *, is_equal: bool
) -> None:
    """`ne` is the opposite, in a file and in a tail."""
    event = Stored(UUID(int=1), AT, "view", "a", {"x": sent})
    stored: list[list[list[Stored]]] = [[[event], []], [[event]]]
    for parts in stored:
        with world(tmp_path, *parts) as one:
            for operator in ("eq", "ne"):
                found = one.ask(
                    Events(Selection(where=Condition(("params", "x"), operator, asked)))
                )
                assert isinstance(found, EventsAnswer)
                assert bool(found.events) is (is_equal == (operator == "eq"))


@pytest.mark.parametrize(
    "path",
    [("name",), ("params", "plan"), ("params", "a.b", 'c"d', ""), ("params", "é x:", "'")],
)
def test_path_that_is_written_is_read_again(path: tuple[str, ...]) -> None:
    """Whatever its keys are."""
    assert fields.read(fields.write(path)) == path


@pytest.mark.parametrize(
    "text", ["", "params", "params.", "params..a", 'params."a', 'params."a"b', "x.y", 'params.a"b']
)
def test_text_that_is_no_field_is_refused(text: str) -> None:
    """It is not taken for another one."""
    with pytest.raises(BadQuestion):
        fields.read(text)


def test_keys_that_differ_in_case_alone_are_told_apart_in_a_shredded_file(tmp_path: Path) -> None:
    """Where each has a column of its own."""
    sent = [{"plan": "a", "Plan": "b"}, {"plan": "c"}, {"Plan": "c"}] * 1000
    rows = [Stored(UUID(int=n), AT, "view", "a", one) for n, one in enumerate(sent)]
    with world(tmp_path, rows, []) as asked:
        for key, value, count in [("plan", "a", 1000), ("Plan", "b", 1000), ("PLAN", "a", 0)]:
            where = Condition(("params", key), "eq", value)
            found = asked.ask(Events(Selection(where=where), limit=1000))
            assert isinstance(found, EventsAnswer)
            assert len(found.events) == count


@pytest.mark.parametrize(
    ("sent", "written"),
    [(5, "5"), (5.0, "5"), (1e21, "1e21"), (1.5e-7, "1.5e-7"), ("a", "a"), (True, "true")],
)
def test_object_whose_keys_differ_in_case_costs_no_other_event_its_text(
    tmp_path: Path, sent: object, written: str
) -> None:
    """DuckDB makes no text of such an object; all others' are what they are without it."""
    mean = Stored(UUID(int=1), AT, "view", "a", {"x": {"k": 1, "K": 2}})
    good = Stored(UUID(int=2), AT, "view", "a", {"x": sent})
    for parts in ([[mean, good], []], [[good], [mean]]):
        with world(tmp_path, *parts) as asked:
            for where, number in (
                (Condition(("params", "x"), "eq", written), 2),
                (Condition(("params", "x"), "contains", "K"), 1),
            ):
                found = asked.ask(Events(Selection(where=where)))
                assert isinstance(found, EventsAnswer)
                assert [event.id.int for event in found.events] == [number]
