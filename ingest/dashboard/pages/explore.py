"""The explorer: events of a range and a filter, how many when, and what there is to filter by.

The page's address is the question. A list goes on from the place of its last event; of such a page
nothing is counted again.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from msgspec.structs import replace

from ingest.api import asking
from ingest.api.asking import Asked
from ingest.api.parameters import Parameters
from ingest.api.refusals import Refused
from ingest.dashboard import histogram, menu, parts, query, ranges, rows
from ingest.dashboard.problems import of_question
from ingest.dashboard.query import Pairs, address
from ingest.dashboard.ranges import Range
from ingest.dashboard.replies import Growing, Page, Part, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.insights.answers import Event, EventsAnswer, TrendsAnswer
from ingest.insights.questions import Events, Interval, Trends

PAGE: Final = 50
USUAL: Final = "7d"
FORMATS: Final = {"ndjson": "NDJSON", "csv": "CSV", "parquet": "Parquet"}
_PARAMETERS: Final = frozenset(("event", "where", "from", "to", "timezone", "before", "interval"))
_LONGER: Final = ("30d", "12mo", "120mo")


_Listed = asyncio.Future[Sequence[Event]]


class _Question(NamedTuple):
    """What a page's address asks."""

    range: Range
    interval: Interval
    events: Events
    counts: Trends


async def show(visit: Visit) -> Reply:
    """Show what an address asks for; what is wrong with it is said where it can be mended."""
    try:
        if (elsewhere := query.canonical(visit)) is not None:
            return elsewhere
        question = _read(visit)
    except Refused as refused:
        values = {"range": _range_of(visit), "problem": of_question(refused), "formats": []}
        return Page("explore.html", {**values, "later": ""}, refused.status, refused.headers)
    page = Page(
        "explore.html", {"range": question.range, "formats": exports(visit), "problem": None}
    )
    return Growing(page, _parts(visit, question))


def exports(visit: Visit) -> Pairs:
    """Return what the events of a page may be exported as, and where."""
    kept = [each for each in query.pairs(visit) if each[0] not in ("before", "interval")]
    if not any(name in ranges.PARAMETERS for name, _ in kept):
        kept.append(("last", USUAL))
    path = f"/apps/{visit.app.id}/export"
    return [(title, address(path, [("format", name), *kept])) for name, title in FORMATS.items()]


def _read(visit: Visit) -> _Question:
    chosen = ranges.read(visit, USUAL)
    interval = histogram.interval_of(visit, chosen)
    given = Parameters(chosen.query(visit.request.query), _PARAMETERS)
    asked = Asked(visit.app, given, datetime.now(UTC))
    events = replace(asking.events(asked), limit=PAGE)
    counts = Trends((events.events,), chosen.start, chosen.end, interval, str(chosen.zone))
    return _Question(chosen, interval, events, counts)


def _range_of(visit: Visit) -> Range:
    """Return the range of a page whose address may be wrong."""
    try:
        return ranges.read(visit, USUAL)
    except Refused:
        return ranges.usual(visit, USUAL)


def _parts(visit: Visit, question: _Question) -> AsyncGenerator[Part, None]:
    listed: _Listed = asyncio.get_running_loop().create_future()
    makings = [partial(_list, visit, question, listed), partial(_menu, visit, question, listed)]
    if question.events.before is None:
        makings.insert(0, partial(_figure, visit, question))
    return parts.in_order(visit, *makings)


async def _figure(visit: Visit, question: _Question) -> Part:
    found = await visit.services.questions.data(visit, question.counts, TrendsAnswer)

    def narrowed(first: str, last: str) -> str:
        return query.link(visit, last=None, interval=None, from_=first, to=last)

    figure = histogram.of(question.range, question.interval, found, narrowed)
    return Part("explore_figure.html", {"figure": figure, "range": question.range})


async def _list(visit: Visit, question: _Question, listed: _Listed) -> Part:
    found = EventsAnswer((), None)
    try:
        found = await visit.services.questions.data(visit, question.events, EventsAnswer)
    finally:
        listed.set_result(found.events)
    before = found.before
    values: dict[str, object] = {
        "rows": [rows.of(visit, each) for each in found.events],
        "older": query.link(visit, before=rows.cursor(before)) if before else None,
        "is_first": question.events.before is None,
        "zone": question.range.zone,
        "longer": _longer(question.range),
        "like": [],
        "is_empty": False,
    }
    if not found.events:
        values |= await _nothing(visit, question)
    return Part("explore_rows.html", values)


async def _nothing(visit: Visit, question: _Question) -> dict[str, object]:
    """Return what is said of an empty list: what may have been meant, and whether there is any."""
    names = await visit.services.questions.names(visit)
    wanted = question.events.events.name
    return {"like": menu.like(names, wanted) if wanted else [], "is_empty": not names.events}


async def _menu(visit: Visit, question: _Question, listed: _Listed) -> Part:
    asked, name = visit.services.questions, question.events.events.name
    is_first = question.events.before is None
    names = await (asked.names(visit) if is_first else asked.names_of_lately(visit))
    found = menu.of(names, name, () if name is None else await listed)
    return Part("explore_menu.html", {"menu": found, "name": name})


def _longer(chosen: Range) -> str | None:
    """Return the next longer of the usual ranges, by what `last` is; None if there is none."""
    days = (chosen.end - chosen.start).days
    known = zip(_LONGER, (30, 365, 3_650), strict=True)
    return next((last for last, length in known if length > days + 1), None)


ROUTES: Final = (Route("GET", "/apps/{app}/explore", Access.VIEWER, show),)
