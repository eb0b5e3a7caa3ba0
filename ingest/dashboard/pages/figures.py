"""Trends, funnels and retention: the address is the question, and the page shows its answer.

The page is seen before it is answered; suggestions for its fields come last.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import hdrs, web
from multidict import MultiDict

from ingest.api.refusals import Refused
from ingest.dashboard import menu, ranges
from ingest.dashboard.parts import in_order
from ingest.dashboard.problems import of_question
from ingest.dashboard.query import canonical, pairs, short
from ingest.dashboard.replies import Growing, Page, Part, Reply, Stream
from ingest.dashboard.routes import Access, Route, Visit
from ingest.dashboard.views.funnels import FUNNELS
from ingest.dashboard.views.retention import RETENTION
from ingest.dashboard.views.trends import TRENDS
from ingest.dashboard.views.view import View, Wanted
from ingest.insights import bounds
from ingest.store import boards
from ingest.web.address import origin_of

VIEWS: Final = {view.name: view for view in (TRENDS, FUNNELS, RETENTION)}
_EVENTS_SHOWN_MAX: Final = 6
_STEPS_SHOWN: Final = 3


async def show(view: View, visit: Visit) -> Reply:
    """Show the page of a question, or send its answer as CSV."""
    if (settled := canonical(visit)) is not None:
        return settled
    query = MultiDict(pairs(visit))
    values = await _values(view, visit, query)
    if view is FUNNELS and "step" not in query:
        return Growing(Page(_template(view), values), in_order(visit, partial(_suggestions, visit)))
    try:
        wanted = Wanted(visit, query, view.read(visit.app, query))
        values["range"] = ranges.read(visit)
    except Refused as refused:
        values["problem"] = of_question(refused)
        return Growing(
            Page(_template(view), values, refused.status),
            in_order(visit, partial(_suggestions, visit)),
        )
    if query.get("format") == "csv":
        return Stream(partial(_send, view, wanted))
    makings = partial(answer_of, view, wanted), partial(_suggestions, visit)
    return Growing(Page(_template(view), values), in_order(visit, *makings))


async def answer_of(view: View, wanted: Wanted) -> Part:
    """Return what is shown of an answer; raise Refused or ArchiveTrouble."""
    return Part(f"{view.name}_answer.html", {"asked": wanted, **await view.show(wanted)})


async def _values(view: View, visit: Visit, query: MultiDict[str]) -> dict[str, Any]:
    """Return what a page shows before it is answered."""
    kept = await visit.services.kept.read(lambda each: boards.list_of(each, visit.app.id))
    return {
        "view": view.name,
        "query": query,
        "api": f"{origin_of(visit.request)}{view.address(query)}",
        "kept_query": urlencode([*query.items()]),
        "boards": kept,
        "problem": None,
        "range": None,
        "later": "",
        "events_shown": _fields_shown(query.getall("event", []), 1, _EVENTS_SHOWN_MAX),
        "steps_shown": _fields_shown(query.getall("step", []), _STEPS_SHOWN, bounds.STEPS_MAX),
    }


def _fields_shown(given: list[str], least: int, most: int) -> list[str]:
    """Return what the fields of a form hold: all that is given, and an empty one for more."""
    count = max(least, min(most, len(given) + 1))
    return [*given, *[""] * (count - len(given))]


async def _suggestions(visit: Visit) -> Part:
    """Return the names of events and fields, for the fields of forms."""
    found = menu.of(await visit.services.questions.names_of_lately(visit), None, ())
    names = [use.name for use in found.names]
    return Part(
        "suggestions.html",
        {"names": names, "fields": [short(each.field) for each in found.fields]},
    )


async def _send(view: View, wanted: Wanted, headers: Mapping[str, str]) -> web.StreamResponse:
    text = (await view.records(wanted)).csv()
    named = f'attachment; filename="{view.name}.csv"'
    kind = {hdrs.CONTENT_TYPE: "text/csv; charset=utf-8", hdrs.CONTENT_DISPOSITION: named}
    return web.Response(body=text.encode(), headers=dict(headers) | kind)


def _template(view: View) -> str:
    return f"{view.name}.html"


ROUTES: Final = tuple(
    Route("GET", f"/apps/{{app}}/{view.name}", Access.VIEWER, partial(show, view))
    for view in VIEWS.values()
)
