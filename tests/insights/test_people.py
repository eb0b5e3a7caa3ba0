"""The people behind a figure are as many as it says, and who they are."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from hypothesis import given, settings

from ingest.insights.answers import FunnelAnswer, Kind, PeopleAnswer, TrendsAnswer
from ingest.insights.errors import BadQuestion
from ingest.insights.questions import (
    Funnel,
    FunnelPeople,
    Group,
    Measure,
    People,
    Question,
    Selection,
    Trends,
)
from tests.insights import oracle, test_funnels, test_trends
from tests.insights.world import Stored, World, crowds, world

AT = test_funnels.AT
PLAN = ("params", "plan")


def asked(one: World, question: Question) -> PeopleAnswer:
    """Ask for people."""
    found = one.ask(question)
    assert isinstance(found, PeopleAnswer)
    return found


def group_of(kind: Kind, value: str | None, others: list[str]) -> Group | None:
    """Return a group of an answer as a question has it."""
    return None if kind == "all" else Group(kind, value, tuple(others))


@settings(max_examples=30, deadline=None)
@given(test_trends.questions())
def test_people_of_each_figure_are_those_the_trend_counts(
    drawn: tuple[Trends, list[Stored], list[Stored]],
) -> None:
    """Of every series of every trend: as many people, as many events, and the right ones."""
    question, archived, tail = drawn
    with TemporaryDirectory() as directory, world(Path(directory), archived, tail) as one:
        for place, selection in enumerate(question.events):
            meant = [
                event
                for event in oracle.meant(selection, archived + tail)
                if question.start <= event.at < question.end
            ]
            by_group = test_trends.groups(question, meant)
            tops = [value or "" for kind, value in by_group if kind == "value"]
            counted = _totals(one, question, place)
            for (kind, value), members in by_group.items():
                group = group_of(kind, value, tops)  # type: ignore[arg-type]
                found = asked(
                    one,
                    People(
                        selection, question.start, question.end, question.breakdown, group, 1000
                    ),
                )
                theirs = Counter(e.person for e in members if e.person is not None)
                assert {each.id: each.count for each in found.people} == theirs
                assert (found.total, found.events) == (len(theirs), len(members))
                assert counted.get((kind, value), len(theirs)) == found.total
                for each in found.people:
                    assert each.latest == max(e.at for e in members if e.person == each.id)


def _totals(one: World, question: Trends, place: int) -> dict[tuple[str, str | None], object]:
    """Return the totals of people, where the same groups are on top by these."""
    trend = one.ask(
        Trends(
            (question.events[place],),
            question.start,
            question.end,
            question.interval,
            question.timezone,
            Measure("people"),
            question.breakdown,
            100,
        )
    )
    assert isinstance(trend, TrendsAnswer)
    return {(each.group, each.value): each.total for each in trend.series if each.group != "other"}


@settings(max_examples=30, deadline=None)
@given(test_funnels.funnels(), crowds(AT, test_funnels.QUARTER, 6))
def test_people_of_each_step_are_those_the_funnel_counts(
    question: Funnel, stored: tuple[list[Stored], list[Stored]]
) -> None:
    """Of every group: who came to a step, and who came no further; the oracle's, by name."""
    expected = test_funnels.expected(question, [*stored[0], *stored[1]])
    tops = [value or "" for kind, value in expected if kind == "value"]
    with TemporaryDirectory() as directory, world(Path(directory), *stored) as one:
        funnel = one.ask(question)
        assert isinstance(funnel, FunnelAnswer)
        for group, ((kind, value), members) in zip(funnel.groups, expected.items(), strict=True):
            where = group_of(kind, value, tops)  # type: ignore[arg-type]
            for step, figure in enumerate(group.steps, start=1):
                reached = asked(one, FunnelPeople(question, step, "reached", where, 1000))
                assert reached.total == figure.people == len(reached.people)
                assert {each.id: each.count for each in reached.people} == {
                    attempt[0].person: len(attempt) for attempt in members if len(attempt) >= step
                }
                stopped = asked(one, FunnelPeople(question, step, "stopped", where, 1000))
                assert {each.id for each in stopped.people} == {
                    attempt[0].person for attempt in members if len(attempt) == step
                }
                following = group.steps[step].people if step < len(group.steps) else 0
                assert stopped.total == figure.people - following


def test_labels_that_are_one_to_a_filter_are_two_groups(tmp_path: Path) -> None:
    """5 and 5.0, as the breakdown has them."""
    rows = [
        Stored(UUID(int=n), AT, "view", f"p{n}", {"plan": plan})
        for n, plan in enumerate(("5", "5.0", "5.0", None))
    ]
    end = AT + timedelta(days=1)
    with world(tmp_path, rows, []) as one:
        for value, total in (("5", 1), ("5.0", 2)):
            group = Group("value", value)
            assert asked(one, People(Selection("view"), AT, end, PLAN, group)).total == total
        other = Group("other", None, ("5",))
        assert asked(one, People(Selection("view"), AT, end, PLAN, other)).total == 2


def test_list_is_of_those_with_most_and_the_total_of_all(tmp_path: Path) -> None:
    """Events of nobody are counted as events."""
    rows = [
        Stored(UUID(int=100 * n + k), AT + timedelta(minutes=n), "view", f"p{n}", {})
        for n in range(1, 6)
        for k in range(n // 2)
    ]
    rows.append(Stored(UUID(int=9_999), AT, "view", None, {}))
    question = People(Selection("view"), AT, AT + timedelta(days=1), limit=2)
    with world(tmp_path, rows, []) as one:
        found = asked(one, question)
        assert [each.id for each in found.people] == ["p5", "p4"]
        assert (found.total, found.events) == (4, 7)
        nobody = asked(one, People(Selection("buy"), AT, AT + timedelta(days=1)))
        assert (nobody.people, nobody.total, nobody.events) == ((), 0, 0)


@pytest.mark.parametrize(
    "question",
    [
        People(Selection(), AT, AT),
        People(Selection(), AT, AT + timedelta(days=1), None, Group("none")),
        People(Selection(), AT, AT + timedelta(days=1), PLAN, Group("value")),
        People(Selection(), AT, AT + timedelta(days=1), limit=0),
        FunnelPeople(Funnel((Selection(),) * 2, AT, AT + timedelta(1), timedelta(1)), 3),
        FunnelPeople(Funnel((Selection(),) * 2, AT, AT + timedelta(1), timedelta(1)), 0),
    ],
)
def test_question_that_has_no_answer_is_refused(tmp_path: Path, question: Question) -> None:
    """As all others are."""
    with world(tmp_path, []) as one, pytest.raises(BadQuestion):
        one.ask(question)
