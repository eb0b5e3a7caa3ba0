"""Funnels follow people as their docstring says, ties and all."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.insights.answers import FunnelAnswer
from ingest.insights.questions import Condition, Funnel, Selection
from tests.insights import oracle
from tests.insights.world import LATER, Stored, events, world

AT = datetime(2026, 6, 15, tzinfo=UTC)
FIELD = ("params", "plan")
Attempt = list[Stored]


def attempts(question: Funnel, events: list[Stored], so_far: Attempt) -> list[Attempt]:
    """Return all ways to go on with an attempt, those that end here included."""
    found = [so_far] if so_far else []
    if len(so_far) == len(question.steps):
        return found
    for event in oracle.meant(question.steps[len(so_far)], events):
        if not so_far:
            fits = question.start <= event.at < question.end
        else:
            fits = event.place > so_far[-1].place and event.at <= so_far[0].at + question.window
        if fits:
            found += attempts(question, events, [*so_far, event])
    return found


def counted(question: Funnel, events: list[Stored]) -> Attempt | None:
    """Return the attempt that a person is counted by."""
    every = attempts(question, events, [])
    if not every:
        return None
    furthest = [one for one in every if len(one) == max(map(len, every))]
    ends = min(one[-1].place for one in furthest)
    ending = [one for one in furthest if one[-1].place == ends]
    return max(ending, key=lambda one: [event.place for event in reversed(one)])


def expected(question: Funnel, events: list[Stored]) -> dict[tuple[str, str | None], list[Attempt]]:
    """Return the attempts of each group, in the order of groups."""
    people = defaultdict(list)
    for event in events:
        if event.person is not None:
            people[event.person].append(event)
    found = [one for theirs in people.values() if (one := counted(question, theirs))]
    groups: dict[tuple[str, str | None], list[Attempt]] = {("all", None): found}
    if question.breakdown is None:
        return groups
    labels = [oracle.text(one[0], question.breakdown) for one in found]
    order = sorted(Counter(set(labels) - {None}), key=lambda x: (-labels.count(x), str(x).encode()))
    top = order[: question.top]
    keys = [("value", x) if x in top else ("none" if x is None else "other", None) for x in labels]
    for key in [*(("value", x) for x in top), ("none", None), ("other", None)]:
        members = [one for one, its in zip(found, keys, strict=True) if its == key]
        if members:
            groups[key] = members
    return groups


@st.composite
def funnels(draw: st.DrawFn) -> Funnel:
    """A funnel of two to four steps, some of which are the same."""
    step = st.sampled_from(
        [
            Selection("view"),
            Selection("buy"),
            Selection("it's"),
            Selection(),
            Selection("view", Condition(FIELD, "exists")),
        ]
    )
    return Funnel(
        steps=tuple(draw(st.lists(step, min_size=2, max_size=4))),
        start=AT - timedelta(minutes=15) * draw(st.integers(0, 8)),
        end=AT + timedelta(minutes=15) * draw(st.integers(1, 8)),
        window=timedelta(minutes=15) * draw(st.integers(1, 8)),
        breakdown=draw(st.sampled_from([None, FIELD, ("name",)])),
        top=draw(st.integers(1, 2)),
    )


@settings(max_examples=60, deadline=None)
@given(funnels(), events(AT, hours=2, most=12), events(AT, hours=2, most=12))
def test_funnel_is_what_the_definition_says(
    question: Funnel, archived: list[Stored], tail: list[Stored]
) -> None:
    """All attempts of each person are made, and the one that counts is chosen."""
    known = {event.id for event in archived}
    tail = [event for event in tail if event.id not in known]
    with TemporaryDirectory() as directory, world(Path(directory), archived, tail) as one:
        found = one.ask(question)
    assert isinstance(found, FunnelAnswer)
    groups = expected(question, archived + tail)
    assert [(group.group, group.value) for group in found.groups] == list(groups)
    for group, members in zip(found.groups, groups.values(), strict=True):
        for place, step in enumerate(group.steps):
            there = [one for one in members if len(one) > place]
            seconds = [(one[place].at - one[place - 1].at).total_seconds() for one in there]
            assert step.people == len(there)
            assert step.median_s == (median(seconds) if place and seconds else None)
        last = group.steps[-1].people
        assert group.conversion == (last / len(members) if members else None)


def test_order_of_equal_times_is_that_of_ids(tmp_path: Path) -> None:
    """Who has them the other way round did not get there."""
    rows = [
        Stored(UUID(int=1), AT, "view", "a", {}),
        Stored(UUID(int=2), AT, "buy", "a", {}),
        Stored(UUID(int=3), AT, "buy", "b", {}),
        Stored(UUID(int=4), AT, "view", "b", {}),
    ]
    steps = (Selection("view"), Selection("buy"))
    with world(tmp_path, rows, []) as one:
        found = one.ask(Funnel(steps, AT, AT + timedelta(days=1), timedelta(hours=1)))
    assert isinstance(found, FunnelAnswer)
    assert [step.people for step in found.groups[0].steps] == [2, 1]


@pytest.mark.parametrize(
    ("now", "is_partial"), [(AT + timedelta(days=1), True), (LATER, False)], ids=str
)
def test_funnel_whose_window_is_not_over_is_called_partial(
    tmp_path: Path, now: datetime, *, is_partial: bool
) -> None:
    """Somebody may still get there."""
    steps = (Selection("view"), Selection("buy"))
    with world(tmp_path, []) as one:
        found = one.ask(Funnel(steps, AT, AT + timedelta(days=1), timedelta(hours=1)), now)
    assert isinstance(found, FunnelAnswer)
    assert found.partial is is_partial
