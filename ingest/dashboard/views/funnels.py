"""Funnels as they are seen: a bar for each step, and with a breakdown a row for each group."""

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from ingest.api import figures, records
from ingest.api.records import Records
from ingest.dashboard.query import short
from ingest.dashboard.views.behind import Who, who
from ingest.dashboard.views.trends import group_of
from ingest.dashboard.views.view import Values, View, Wanted, expect
from ingest.insights import fields
from ingest.insights.answers import FunnelAnswer, FunnelGroup
from ingest.insights.questions import Funnel


class Step(NamedTuple):
    """One step of everybody, or of a group."""

    name: str
    people: str
    of_first: str
    of_previous: str
    """Empty of the first step, as what it is of is."""
    median: str
    lost: str
    """How many did not come from the step before."""
    width: str
    """Of its bar, of 100."""
    who: str
    """Where the people are listed who came to it."""
    who_lost: str
    """Where those are who came to the step before and no further."""


class Group(NamedTuple):
    """Those of one value."""

    name: str
    steps: Sequence[Step]
    conversion: str


class Shown(NamedTuple):
    """A whole funnel."""

    everybody: Group
    groups: Sequence[Group]
    """Of a breakdown."""
    breakdown: str
    window: str
    is_partial: bool
    is_empty: bool


async def show(wanted: Wanted) -> Values:
    """Ask."""
    question = expect(wanted.question, Funnel)
    answered = await wanted.ask(question)
    answer = expect(answered.data, FunnelAnswer)
    where = who(wanted, "funnels")
    groups = [_group(question, each, where) for each in answer.groups]
    breakdown = question.breakdown
    shown = Shown(
        everybody=groups[0],
        groups=groups[1:],
        breakdown="" if breakdown is None else short(fields.write(breakdown)),
        window=figures.span(question.window.total_seconds()),
        is_partial=answer.partial,
        is_empty=not answer.groups[0].steps[0].people,
    )
    return {"shown": shown, "question": question, "as_of": answered.as_of}


async def rows(wanted: Wanted) -> Records:
    """Ask, and return what `nonito query funnel --csv` prints."""
    question = expect(wanted.question, Funnel)
    return records.of_funnel(question, expect((await wanted.ask(question)).data, FunnelAnswer))


FUNNELS: Final = View("funnels", "/v1/funnel", show, rows)


def _group(question: Funnel, group: FunnelGroup, where: Who) -> Group:
    reached = [*records.steps(group)]
    named = partial(where.behind, group.group, group.value)
    steps = [
        Step(
            name=question.steps[place].name or figures.ANY,
            people=figures.separated(step.people),
            of_first=figures.percent(step.of_first),
            of_previous=figures.percent(step.of_previous) if place else "",
            median=figures.span(step.median_s) if place else "",
            lost=figures.separated(reached[place - 1].people - step.people) if place else "",
            width=f"{100 * (step.of_first or 0):.2f}",
            who=named(reached=str(place + 1)),
            who_lost=named(stopped=str(place)) if place else "",
        )
        for place, step in enumerate(reached)
    ]
    name = group_of(group.group, group.value) or "all"
    return Group(name, steps, figures.percent(group.conversion))
