"""Trends count what their docstring says, in the buckets of the calendar."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.insights.answers import TrendsAnswer
from ingest.insights.questions import Condition, Measure, Selection, Trends
from tests.insights import oracle
from tests.insights.test_calendar import SPAN
from tests.insights.world import CHANGES, LATER, ZONES, Stored, events, world

AT = datetime(2026, 6, 15, tzinfo=UTC)
FIELD = ("params", "plan")
MEASURES = [
    Measure(),
    Measure("people"),
    *(Measure(kind, FIELD) for kind in ("sum", "average", "min", "max")),
    Measure("percentile", FIELD, 0.5),
    Measure("percentile", FIELD, 0.9),
]


def measured(measure: Measure, events: list[Stored]) -> float | None:
    """Measure some events."""
    if measure.kind == "count":
        return len(events)
    if measure.kind == "people":
        return len({event.person for event in events} - {None})
    found = sorted(n for e in events if (n := oracle.number(oracle.text(e, FIELD))) is not None)
    if measure.kind == "sum":
        return sum(found)
    return of_numbers(measure, found) if found else None


def of_numbers(measure: Measure, found: list[float]) -> float:
    """Measure some numbers that are in their order."""
    if measure.kind == "average":
        return mean(found)
    if measure.kind == "percentile":
        place = (len(found) - 1) * (measure.q or 0)
        low = int(place)
        high = min(low + 1, len(found) - 1)
        return found[low] + (found[high] - found[low]) * (place - low)
    return found[0] if measure.kind == "min" else found[-1]


def groups(question: Trends, events: list[Stored]) -> dict[tuple[str, str | None], list[Stored]]:
    """Return the events of each group, the groups in their order."""
    if question.breakdown is None:
        return {("all", None): events}
    labels = defaultdict(list)
    for event in events:
        labels[oracle.text(event, question.breakdown)].append(event)
    none = labels.pop(None, [])
    totals = {label: measured(question.measure, group) for label, group in labels.items()}
    order = sorted(labels, key=lambda x: (totals[x] is None, -(totals[x] or 0), str(x).encode()))
    top = order[: question.top]
    rest = [event for label in order[question.top :] for event in labels[label]]
    found = {("value", label): labels[label] for label in top}
    return found | {
        key: some for key, some in [(("none", None), none), (("other", None), rest)] if some
    }


@st.composite
def questions(draw: st.DrawFn) -> tuple[Trends, list[Stored], list[Stored]]:
    """A question, and events around a change of clocks."""
    around = draw(st.sampled_from(CHANGES))
    start = around + draw(st.integers(-120, 100)) * timedelta(minutes=30)
    question = Trends(
        events=tuple(
            draw(
                st.lists(st.sampled_from([Selection(), Selection("view")]), min_size=1, max_size=2)
            )
        ),
        start=start,
        end=start + draw(st.integers(1, 100)) * timedelta(minutes=30),
        interval=draw(st.sampled_from(["hour", "day", "week", "month"])),
        timezone=draw(st.sampled_from(ZONES)),
        measure=draw(st.sampled_from(MEASURES)),
        breakdown=draw(
            st.sampled_from([None, ("name",), ("person",), FIELD, ("params", "deep", "x")])
        ),
        top=draw(st.integers(1, 3)),
    )
    archived, tail = draw(events(around)), draw(events(around))
    known = {event.id for event in archived}
    return question, archived, [event for event in tail if event.id not in known]


@settings(max_examples=60, deadline=None)
@given(questions())
def test_trend_is_what_the_definition_says(
    asked: tuple[Trends, list[Stored], list[Stored]],
) -> None:
    """For each measure, interval, breakdown and zone."""
    question, archived, tail = asked
    with TemporaryDirectory() as directory, world(Path(directory), archived, tail) as one:
        found = one.ask(question)
    assert isinstance(found, TrendsAnswer)
    zone = ZoneInfo(question.timezone)
    starts = oracle.beginnings(question.start, SPAN[question.interval], question.interval, zone)
    first = oracle.bucket(question.start, starts)
    assert list(found.buckets) == [s for s in starts if first <= s < question.end]
    series = iter(found.series)
    for place, selection in enumerate(question.events):
        meant = [
            event
            for event in oracle.meant(selection, archived + tail)
            if question.start <= event.at < question.end
        ]
        for (group, value), members in groups(question, meant).items():
            line = next(series)
            assert (line.event, line.group, line.value) == (place, group, value)
            assert line.total == approximately(measured(question.measure, members))
            for bucket, figure in zip(found.buckets, line.values, strict=True):
                inside = [e for e in members if oracle.bucket(e.at, starts) == bucket]
                assert figure == approximately(measured(question.measure, inside))
    assert next(series, None) is None


def approximately(value: float | None) -> object:
    """Allow for the order in which doubles are added."""
    return value if value is None else pytest.approx(value, rel=1e-9, abs=1e-6)


def test_people_of_the_rest_are_counted_once(tmp_path: Path) -> None:
    """Those of y and z are two people, not three."""
    rows = [
        Stored(UUID(int=n), AT, "view", person, {"plan": plan})
        for n, (person, plan) in enumerate(
            [("a", "x"), ("b", "x"), ("a", "y"), ("a", "z"), ("b", "z")]
        )
    ]
    question = Trends(
        (Selection(),),
        AT,
        AT + timedelta(days=1),
        measure=Measure("people"),
        breakdown=FIELD,
        top=1,
    )
    with world(tmp_path, rows) as one:
        found = one.ask(question)
    assert isinstance(found, TrendsAnswer)
    assert [(s.group, s.value, s.values) for s in found.series] == [
        ("value", "x", (2,)),
        ("other", None, (2,)),
    ]


@pytest.mark.parametrize(
    ("start", "end", "now", "is_first", "is_last"),
    [
        (AT, AT + timedelta(days=2), LATER, False, False),
        (AT + timedelta(hours=1), AT + timedelta(days=2), LATER, True, False),
        (AT, AT + timedelta(days=2, hours=1), LATER, False, True),
        (AT, AT + timedelta(days=2), AT + timedelta(days=1, hours=5), False, True),
    ],
    ids=["whole", "late start", "early end", "not over"],
)
def test_bucket_that_is_cut_or_not_over_is_called_partial(
    tmp_path: Path, start: datetime, end: datetime, now: datetime, *, is_first: bool, is_last: bool
) -> None:
    """Without any event there is a zero all the same."""
    with world(tmp_path, []) as one:
        found = one.ask(Trends((Selection(),), start, end), now)
    assert isinstance(found, TrendsAnswer)
    assert (found.partial_first, found.partial_last) == (is_first, is_last)
    assert all(series.total == 0 for series in found.series)


def test_filter_of_an_event_is_its_own(tmp_path: Path) -> None:
    """The other event has none."""
    rows = [Stored(UUID(int=n), AT, "view", "a", {"plan": n % 3}) for n in range(9)]
    pro = Selection("view", Condition(FIELD, "eq", "2"))
    with world(tmp_path, rows, []) as one:
        found = one.ask(Trends((pro, Selection("view")), AT, AT + timedelta(days=1)))
    assert isinstance(found, TrendsAnswer)
    assert [series.total for series in found.series] == [3, 9]
