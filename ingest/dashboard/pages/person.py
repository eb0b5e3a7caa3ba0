"""One person: what they did, day by day, the latest first."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, date, datetime
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from ingest.api import asking
from ingest.api.asking import Asked
from ingest.api.parameters import Parameters
from ingest.api.refusals import Refused, invalid
from ingest.dashboard import histogram, parts, query, ranges, rows
from ingest.dashboard.problems import of_question
from ingest.dashboard.query import Pairs, address
from ingest.dashboard.replies import Growing, Page, Part, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.dashboard.rows import Row
from ingest.insights.answers import EventsAnswer, TrendsAnswer
from ingest.insights.bounds import TEXT_MAX
from ingest.insights.questions import PERSON, Condition, PersonEvents, Selection, Trends

PAGE: Final = 50
_COUNTED: Final = "30d"


class Day(NamedTuple):
    """What somebody did on a day, as far as it is on the page."""

    day: date
    rows: Sequence[Row]


async def show(visit: Visit) -> Reply:
    """Show the events of whom an address names; ask who that is where it names nobody."""
    try:
        if (elsewhere := query.canonical(visit)) is not None:
            return elsewhere
        question = _read(visit)
    except Refused as refused:
        values = {"person": None, "problem": of_question(refused), "explore": "", "later": ""}
        return Page("person.html", values, refused.status, refused.headers)
    if question is None:
        values = {"person": None, "problem": None, "explore": "", "later": ""}
        return Page("person.html", values)
    explore = _explore(visit, question.person, [("last", _COUNTED)])
    values = {"person": question.person, "problem": None, "explore": explore}
    ways = {name: _way(visit, name, question.person) for name in ("export", "erase")}
    page = Page("person.html", values | ways)
    return Growing(page, _parts(visit, question))


def _read(visit: Visit) -> PersonEvents | None:
    given = Parameters(visit.request.query, ("id", "before"))
    person = given.one("id")
    if person is None:
        return None
    if len(person) > TEXT_MAX:
        raise invalid("id", f"it has {TEXT_MAX:,} characters at most")
    asked = Asked(visit.app, given, datetime.now(UTC))
    return replace(asking.person_events(asked, person), limit=PAGE)


def _explore(visit: Visit, person: str, range_: Pairs) -> str:
    """Return where the explorer has their events of a range."""
    where = ("where", query.condition("person", "eq", person))
    return address(f"/apps/{visit.app.id}/explore", [where, *range_])


def _way(visit: Visit, name: str, person: str) -> str:
    """Return where something is done about all that is stored of them."""
    return address(f"/apps/{visit.app.id}/person/{name}", [("id", person)])


def _parts(visit: Visit, question: PersonEvents) -> AsyncGenerator[Part, None]:
    if question.before is not None:
        return parts.in_order(visit, partial(_list, visit, question))
    return parts.in_order(
        visit, partial(_figure, visit, question.person), partial(_list, visit, question)
    )


async def _figure(visit: Visit, person: str) -> Part:
    chosen = ranges.usual(visit, _COUNTED)
    selection = Selection(where=Condition(PERSON, "eq", person))
    trends = Trends((selection,), chosen.start, chosen.end, "day", str(chosen.zone))
    answer = await visit.services.questions.data(visit, trends, TrendsAnswer)

    def narrowed(first: str, last: str) -> str:
        return _explore(visit, person, [("from", first), ("to", last)])

    figure = histogram.of(chosen, "day", answer, narrowed)
    return Part("person_figure.html", {"figure": figure, "range": chosen})


async def _list(visit: Visit, question: PersonEvents) -> Part:
    answer = await visit.services.questions.data(visit, question, EventsAnswer)
    zone = ZoneInfo(visit.app.timezone)
    found = [rows.of(visit, each) for each in answer.events]
    days = groupby(found, key=lambda row: row.at.astimezone(zone).date())
    before = answer.before
    values = {
        "days": [Day(day, list(each)) for day, each in days],
        "older": query.link(visit, before=rows.cursor(before)) if before else None,
        "is_first": question.before is None,
        "latest": found[0].at if found else None,
        "earliest": found[-1].at if found and before is None else None,
        "person": question.person,
        "joined": _joined(visit, question.person, found),
        "zone": zone,
    }
    return Part("person_events.html", values)


def _joined(visit: Visit, person: str, found: Sequence[Row]) -> tuple[str, str] | None:
    """Return whose the id is that was asked for, and where they are; None if it is their own."""
    told = found[0].person if found else None
    return None if told is None or told == person else (told, rows.person_path(visit, told))


ROUTES: Final = (Route("GET", "/apps/{app}/person", Access.VIEWER, show),)
