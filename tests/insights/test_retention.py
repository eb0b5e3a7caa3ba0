"""Retention counts who is back as its docstring says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.insights.answers import RetentionAnswer
from ingest.insights.questions import Condition, Retention, Selection
from tests.insights import oracle
from tests.insights.test_calendar import SPAN
from tests.insights.world import CHANGES, LATER, ZONES, Stored, events, world

AT = datetime(2026, 6, 15, tzinfo=UTC)


def people(events: list[Stored]) -> set[str]:
    """Return who is in some events."""
    return {event.person for event in events if event.person is not None}


class Oracle:
    """The answer to one question about some events."""

    def __init__(self, question: Retention, events: list[Stored], starts: list[datetime]) -> None:
        """Take all beginnings of periods, and keep those in the range."""
        self.question = question
        self.events = [event for event in events if event.at < question.end]
        self.starts = starts
        first = oracle.bucket(question.start, starts)
        self.shown = [start for start in starts if first <= start < question.end]

    def rows(self) -> list[tuple[int, list[int]]]:
        """Return the size of each cohort, and its figures, by looking at each person in turn."""
        rows = []
        for place, cohort in enumerate(self.shown):
            begun = [one for who in people(self.events) if (one := self.first(who, cohort))]
            figures = [
                sum(self.is_back(one, period) for one in begun) for period in self.shown[place:]
            ]
            rows.append((len(begun), figures))
        return rows

    def first(self, who: str, cohort: datetime) -> Stored | None:
        """Return the event that makes a person belong to a cohort."""
        theirs = [e for e in oracle.meant(self.question.first, self.events) if e.person == who]
        if self.question.kind == "recurring":
            theirs = [e for e in theirs if e.at >= self.question.start and self.at(e) == cohort]
        if not theirs or theirs[0].at < self.question.start:
            return None
        return theirs[0] if self.at(theirs[0]) == cohort else None

    def is_back(self, begun: Stored, period: datetime) -> bool:
        """Tell whether a person came back in a period, or (so asked) in any later one too."""
        later = [
            self.at(event)
            for event in oracle.meant(self.question.then, self.events)
            if event.person == begun.person and event.place > begun.place
        ]
        or_after = self.question.back == "on_or_after"
        return any(at == period or (or_after and at > period) for at in later)

    def at(self, event: Stored) -> datetime:
        """Return the beginning of an event's period."""
        return oracle.bucket(event.at, self.starts)


@st.composite
def retentions(draw: st.DrawFn) -> Retention:
    """A question around a change of clocks."""
    start = draw(st.sampled_from(CHANGES)) + draw(st.integers(-60, 10)) * timedelta(hours=1)
    selections = st.sampled_from(
        [
            Selection("view"),
            Selection("buy"),
            Selection(),
            Selection(None, Condition(("params", "plan"), "exists")),
        ]
    )
    return Retention(
        first=draw(selections),
        then=draw(selections),
        start=start,
        end=start + draw(st.integers(1, 120)) * timedelta(hours=1),
        interval=draw(st.sampled_from(["day", "day", "week", "month"])),
        timezone=draw(st.sampled_from(ZONES)),
        kind=draw(st.sampled_from(["first_time", "recurring"])),
        back=draw(st.sampled_from(["on", "on_or_after"])),
    )


@settings(max_examples=60, deadline=None)
@given(st.data(), retentions())
def test_retention_is_what_the_definition_says(data: st.DataObject, question: Retention) -> None:
    """Each person is looked at in each cohort and period."""
    around = question.start + timedelta(hours=24)
    archived, tail = data.draw(events(around)), data.draw(events(around))
    known = {event.id for event in archived}
    tail = [event for event in tail if event.id not in known]
    with TemporaryDirectory() as directory, world(Path(directory), archived, tail) as one:
        found = one.ask(question)
    assert isinstance(found, RetentionAnswer)
    zone = ZoneInfo(question.timezone)
    starts = oracle.beginnings(question.start, SPAN[question.interval], question.interval, zone)
    expected = Oracle(question, archived + tail, starts)
    assert [(cohort.people, list(cohort.back)) for cohort in found.cohorts] == expected.rows()
    assert [cohort.start for cohort in found.cohorts] == expected.shown


def test_last_period_is_partial_while_it_is_not_over(tmp_path: Path) -> None:
    """And once it is over it is not."""
    question = Retention(Selection(), Selection(), AT, AT + timedelta(days=14))
    with world(tmp_path, []) as one:
        for now, is_partial in [(AT + timedelta(days=13), True), (LATER, False)]:
            found = one.ask(question, now)
            assert isinstance(found, RetentionAnswer)
            assert found.partial_last is is_partial
