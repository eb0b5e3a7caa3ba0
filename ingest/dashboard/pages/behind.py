"""Who is behind a figure of a trend or a funnel: as many people as it says, and what they did.

The address is the question with which figure is meant: `of` its events, `group` and `value`, and
the bucket that begins `at`; or `reached`, or `stopped` for those who came no further than a step.
"""

from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from msgspec.structs import replace
from multidict import MultiDict

from ingest.api import figures
from ingest.api.parameters import Parameters
from ingest.api.refusals import invalid
from ingest.dashboard.parts import in_order
from ingest.dashboard.problems import not_found
from ingest.dashboard.query import address, pairs, short
from ingest.dashboard.replies import Elsewhere, Growing, Page, Part, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.dashboard.views.behind import Behind
from ingest.dashboard.views.funnels import FUNNELS
from ingest.dashboard.views.trends import TRENDS, group_of
from ingest.dashboard.views.view import View, Wanted, asked_of, expect
from ingest.insights import fields
from ingest.insights.answers import FunnelAnswer, PeopleAnswer, TrendsAnswer
from ingest.insights.calendar import buckets
from ingest.insights.questions import Funnel, FunnelPeople, Group, People, Trends

_LISTED_MAX: Final = 100
_KINDS: Final = ("value", "none", "other")

Making = Callable[[], Coroutine[Any, Any, Part]]


async def show_of_trend(visit: Visit) -> Reply:
    """Show the people of a trend's figure, and the way to its events."""
    wanted, given = _wanted(visit, TRENDS)
    question = expect(wanted.question, Trends)
    place = given.number("of", 0, 0, len(question.events) - 1)
    people = _in_bucket(question, given, place)
    values = {
        "title": question.events[place].name or figures.ANY,
        "group": _group_words(wanted, given),
        "start": people.start,
        "end": people.end,
        "zone": question.timezone,
        "back": _back(wanted, TRENDS),
    }
    return _growing(wanted, values, _of_trend(wanted, given, place, people))


async def show_of_funnel(visit: Visit) -> Reply:
    """Show the people of a funnel's figure."""
    if "step" not in visit.request.query:
        return Elsewhere(f"/apps/{visit.app.id}/funnels")
    wanted, given = _wanted(visit, FUNNELS)
    question = expect(wanted.question, Funnel)
    way: Literal["stopped", "reached"] = "stopped" if given.one("stopped") else "reached"
    step = given.number(way, 1, 1, len(question.steps))
    name = question.steps[step - 1].name or figures.ANY
    title = f"{step} {name}" if way == "reached" else f"{step} {name}, and no further"
    values = {
        "title": title,
        "group": _group_words(wanted, given),
        "start": question.start,
        "end": question.end,
        "zone": visit.app.timezone,
        "back": _back(wanted, FUNNELS),
    }
    people = FunnelPeople(question, step, way, limit=_LISTED_MAX)
    return _growing(wanted, values, _of_funnel(wanted, given, people))


def _wanted(visit: Visit, view: View) -> tuple[Wanted, Parameters]:
    """Return what is asked, and which of its figures is meant; raise Refused."""
    query = MultiDict(pairs(visit))
    return Wanted(visit, query, view.read(visit.app, query)), Parameters(query, set(query))


def _growing(wanted: Wanted, values: dict[str, object], making: Making) -> Growing:
    page = Page("behind.html", {"later": "", "where": wanted.where, **values})
    return Growing(page, in_order(wanted.visit, making))


def _of_trend(wanted: Wanted, given: Parameters, place: int, people: People) -> Making:
    async def making() -> Part:
        question = expect(wanted.question, Trends)
        others: list[str] = []
        if given.one("group") == "other":
            answer = expect((await wanted.ask(question)).data, TrendsAnswer)
            series = (each for each in answer.series if each.event == place)
            others = [each.value or "" for each in series if each.group == "value"]
        group = _group(given, others)
        answered = await wanted.ask(replace(people, group=group))
        return _part(expect(answered.data, PeopleAnswer), _events(wanted, people, group))

    return making


def _of_funnel(wanted: Wanted, given: Parameters, people: FunnelPeople) -> Making:
    async def making() -> Part:
        others: list[str] = []
        if given.one("group") == "other":
            answer = expect((await wanted.ask(people.funnel)).data, FunnelAnswer)
            others = [each.value or "" for each in answer.groups if each.group == "value"]
        answered = await wanted.ask(replace(people, group=_group(given, others)))
        return _part(expect(answered.data, PeopleAnswer), "")

    return making


def _part(answer: PeopleAnswer, events: str) -> Part:
    return Part("behind_answer.html", {"answer": answer, "events": events})


def _events(wanted: Wanted, people: People, group: Group | None) -> str:
    """Return where the events are that these people have."""
    question, app = expect(wanted.question, Trends), wanted.visit.app
    behind = Behind(
        app.id,
        ZoneInfo(question.timezone),
        question.timezone == app.timezone,
        wanted.where,
        None if people.breakdown is None else fields.write(people.breakdown),
    )
    filters = [] if group is None else behind.group(group.kind, group.value, group.others)
    return behind.events(people.events.name, filters, people.start, people.end)


def _in_bucket(question: Trends, given: Parameters, place: int) -> People:
    """Return the question about a bucket, or the whole range; raise Refused or Problem."""
    zone = ZoneInfo(question.timezone)
    people = People(
        question.events[place], question.start, question.end, question.breakdown, limit=_LISTED_MAX
    )
    at = given.time("at", zone)
    if at is None:
        return people
    edges = buckets(question.start, question.end, question.interval, zone).edges
    for start, end in pairwise(edges):
        if start == at:
            return replace(people, start=max(start, question.start), end=min(end, question.end))
    raise not_found()


def _group(given: Parameters, others: list[str]) -> Group | None:
    kind = given.one("group")
    for each in _KINDS:
        if each == kind:
            return Group(
                each, (given.one("value") or "") if each == "value" else None, tuple(others)
            )
    if kind is not None:
        raise invalid("group", f"write one of {', '.join(_KINDS)}")
    return None


def _group_words(wanted: Wanted, given: Parameters) -> str:
    """Return which group is meant, with its field; empty for all."""
    question = wanted.question
    breakdown = question.breakdown if isinstance(question, Trends | Funnel) else None
    group = _group(given, [])
    if group is None or breakdown is None:
        return ""
    return f"{short(fields.write(breakdown))}: {group_of(group.kind, group.value)}"


def _back(wanted: Wanted, view: View) -> str:
    """Return where the figure is."""
    query = [*asked_of(wanted.query).items()]
    return address(f"/apps/{wanted.visit.app.id}/{view.name}", query)


ROUTES: Final = (
    Route("GET", "/apps/{app}/trends/people", Access.VIEWER, show_of_trend),
    Route("GET", "/apps/{app}/funnels/people", Access.VIEWER, show_of_funnel),
)
