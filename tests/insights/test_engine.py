"""The engine refuses what it can't answer, and ends what nobody waits for."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import msgspec
import pytest

from ingest.insights import bounds, reach
from ingest.insights.engine import answer
from ingest.insights.errors import BadQuestion, TooDear
from ingest.insights.questions import (
    All,
    Condition,
    Either,
    Events,
    Filter,
    Funnel,
    FunnelPeople,
    Measure,
    Names,
    People,
    PersonEvents,
    Question,
    Retention,
    Selection,
    Trends,
)
from tests.insights.world import COLUMNS, LATER, world

AT = datetime(2026, 6, 15, tzinfo=UTC)
DAY = timedelta(days=1)
VIEW = Selection("view")


def deep(levels: int) -> Filter:
    """Return a filter within so many others."""
    where: Filter = Condition(("name",), "exists")
    for _ in range(levels):
        where = All((where,))
    return where


REFUSED: dict[str, Question] = {
    "no events": Trends((), AT, AT + DAY),
    "eleven events": Trends((VIEW,) * 11, AT, AT + DAY),
    "empty range": Trends((VIEW,), AT, AT),
    "unknown zone": Trends((VIEW,), AT, AT + DAY, timezone="Mars/Olympus"),
    "zone that is a path": Trends((VIEW,), AT, AT + DAY, timezone="../../etc/passwd"),
    "sum of nothing": Trends((VIEW,), AT, AT + DAY, measure=Measure("sum")),
    "percentile of one": Trends(
        (VIEW,), AT, AT + DAY, measure=Measure("percentile", ("params", "x"), 1.0)
    ),
    "breakdown of no parameter": Trends((VIEW,), AT, AT + DAY, breakdown=("params",)),
    "breakdown by id": Trends((VIEW,), AT, AT + DAY, breakdown=("id",)),
    "top": Trends((VIEW,), AT, AT + DAY, breakdown=("name",), top=101),
    "depth": Trends((Selection(None, deep(11)),), AT, AT + DAY),
    "nodes": Trends((Selection(None, All((deep(0),) * 101)),), AT, AT + DAY),
    "no value": Trends((Selection(None, Condition(("name",), "eq")),), AT, AT + DAY),
    "value of exists": Trends((Selection(None, Condition(("name",), "exists", 1)),), AT, AT + DAY),
    "name's length": Trends((Selection("x" * 1001),), AT, AT + DAY),
    "one step": Funnel((VIEW,), AT, AT + DAY, DAY),
    "eleven steps": Funnel((VIEW,) * 11, AT, AT + DAY, DAY),
    "no window": Funnel((VIEW,) * 2, AT, AT + DAY, timedelta(0)),
    "range backwards": Retention(VIEW, VIEW, AT + DAY, AT),
    "limit": Events(limit=1001),
    "no limit": Events(limit=0),
    "negative limit": PersonEvents("a", limit=-1),
    "top of names": Names(top=101),
}


@pytest.mark.parametrize("case", REFUSED)
def test_question_that_has_no_answer_is_refused(case: str) -> None:
    """Before anything is asked of the events."""
    with duckdb.connect() as connection, pytest.raises(BadQuestion):
        answer(connection, ["nothing"], REFUSED[case], LATER)


@pytest.mark.parametrize(
    ("question", "days"),
    [
        (Trends((VIEW,), AT, AT + 1_000 * DAY, interval="hour"), 208),
        (Trends((VIEW,), AT, AT + 5_000 * DAY, interval="month"), 3_660),
        (Retention(VIEW, VIEW, AT, AT + 200 * DAY, interval="day"), 120),
    ],
    ids=["hours", "months", "retention"],
)
def test_range_that_is_too_long_is_refused_with_one_that_fits(
    tmp_path: Path, question: Trends | Retention, days: int
) -> None:
    """And that one is answered."""
    with world(tmp_path, []) as one:
        with pytest.raises(TooDear, match=f"{days} days") as refused:
            one.ask(question)
        assert refused.value.longest.days == days
        one.ask(msgspec.structs.replace(question, end=AT + refused.value.longest))


def test_question_is_ended_from_another_thread() -> None:
    """Whatever it is at: a funnel over so many events takes minutes."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE tail ({COLUMNS}, params VARIANT)")
        many = f"""(SELECT uuid() AS id, TIMESTAMPTZ '{AT}' AS "at", now() AS created_at,
            'view' AS name, i::VARCHAR AS person, NULL::VARIANT AS params
            FROM range(1000000000) t(i))"""
        questions: list[Question] = [
            Funnel((VIEW, VIEW), AT, AT + DAY, DAY),
            Trends((VIEW,), AT, AT + DAY, breakdown=("person",)),
            Retention(VIEW, VIEW, AT, AT + DAY),
            Names(),
        ]
        for question in questions:
            ended = threading.Timer(0.3, connection.interrupt)
            ended.start()
            with pytest.raises(duckdb.InterruptException):
                answer(connection, [many, "tail"], question, LATER)
            ended.join()


def test_question_and_answer_go_through_json(tmp_path: Path) -> None:
    """As the API sends and takes them."""
    where = Condition(("params", "x"), "gt", 5)
    asked = Trends((Selection("view", All((where,))),), AT, AT + DAY, breakdown=("params", "x"))
    sent = msgspec.json.encode(asked)
    assert msgspec.json.decode(sent, type=Question) == asked
    with world(tmp_path, []) as one:
        found = msgspec.json.decode(msgspec.json.encode(one.ask(asked)))
    assert found == {
        "type": "trends",
        "buckets": ["2026-06-15T00:00:00Z"],
        "series": [],
        "partial_first": False,
        "partial_last": False,
    }


def test_reach_is_what_a_question_needs_events_of() -> None:
    """A funnel's window lies behind its range, a first time may lie before it."""
    end = AT + DAY
    assert reach.of(Trends((VIEW,), AT, end)) == (AT, end)
    assert reach.of(Funnel((VIEW, VIEW), AT, end, DAY)) == (AT, end + DAY)
    assert reach.of(Retention(VIEW, VIEW, AT, end)) == (None, end)
    assert reach.of(Retention(VIEW, VIEW, AT, end, kind="recurring")) == (AT, end)
    assert reach.of(Events(VIEW, AT)) == (AT, None)
    assert reach.of(PersonEvents("a")) == (None, None)
    assert reach.of(Names()) == (None, None)
    assert reach.of(People(VIEW, AT, end)) == (AT, end)
    assert reach.of(FunnelPeople(Funnel((VIEW, VIEW), AT, end, DAY), 1)) == (AT, end + DAY)


def test_parameters_are_needed_where_any_is_asked_for() -> None:
    """In a filter however deep, a measure or a breakdown; of names and people none is."""
    end = AT + DAY
    plan = ("params", "plan")
    deeply = Selection(where=All((Either((Condition(plan, "exists"),)),)))
    person = Selection(where=All((Condition(("person",), "eq", "a"),)))
    none: tuple[Question, ...] = (
        Trends((VIEW, person), AT, end, breakdown=("name",)),
        Trends((VIEW,), AT, end, measure=Measure("people")),
        Funnel((VIEW, person), AT, end, DAY),
        Retention(VIEW, person, AT, end),
    )
    some: tuple[Question, ...] = (
        Trends((VIEW, deeply), AT, end),
        Trends((VIEW,), AT, end, measure=Measure("sum", plan)),
        Trends((VIEW,), AT, end, breakdown=plan),
        Funnel((VIEW, deeply), AT, end, DAY),
        Funnel((VIEW, VIEW), AT, end, DAY, breakdown=plan),
        Retention(deeply, VIEW, AT, end),
        Retention(VIEW, deeply, AT, end),
        Events(),
        PersonEvents("a"),
        Names(),
    )
    assert not any(map(reach.has_params, none))
    assert all(map(reach.has_params, some))


def test_bounds_take_what_is_at_them() -> None:
    """The longest of everything."""
    bounds.check(Funnel((VIEW,) * 10, AT, AT + 3_660 * DAY, 366 * DAY, ("name",), 100))
    bounds.check(Events(Selection("x" * 1000, deep(10)), limit=1000))
