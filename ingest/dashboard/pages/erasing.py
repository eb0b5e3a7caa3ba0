"""What is stored of a person, as an owner of the app takes it along, or has it erased.

It is asked twice: what goes is on the form, and its id has to be typed. Erased is in the background
(`privacy/duty.py`); the page that says how far it is looks again by itself.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from aiohttp import hdrs, web

from ingest.api import files
from ingest.api.people import told
from ingest.api.refusals import Code, Refused
from ingest.dashboard.problems import Problem, not_found, of_question
from ingest.dashboard.replies import Elsewhere, Page, Reply, Stream
from ingest.dashboard.routes import Access, Route, Visit

_IDS_SHOWN: Final = 100
_LOOK_S: Final = 2
"""So often a page looks how far it is."""
_OTHER: Final = "What you typed is not the id. Nothing is erased."
_CHANGED: Final = "Events have joined other ids to it since. Look again at what would be erased."


async def confirm(visit: Visit) -> Reply:
    """Show what is stored of whom an address names, and a form that has it erased."""
    return await _form(visit, visit.request.query.get("id", ""))


async def _form(visit: Visit, person: str, error: str = "") -> Page:
    _require(person)
    try:
        with visit.services.questions.export(visit):
            stored = await visit.services.people.stored(visit.app, person)
    except Refused as refused:
        raise of_question(refused) from None
    values = {
        "person": person,
        "stored": stored,
        "ids": stored.ids[:_IDS_SHOWN],
        "more": max(0, len(stored.ids) - _IDS_SHOWN),
        "error": error,
    }
    return Page("erase.html", values, 422 if error else 200)


async def erase(visit: Visit) -> Reply:
    """Have somebody erased whose id was typed again."""
    person, form = visit.form.get("id", ""), visit.form
    _require(person)
    if form.get("typed", "") != person:
        return await _form(visit, person, _OTHER)
    try:
        erasure = await visit.services.people.erase(
            visit.app, person, form.get("confirm", ""), visit.email
        )
    except Refused as refused:
        if refused.code is Code.NOT_CONFIRMED:
            return await _form(visit, person, _CHANGED)
        raise of_question(refused) from None
    return Elsewhere(f"/apps/{visit.app.id}/erasures/{erasure.id}")


async def show(visit: Visit) -> Reply:
    """Show how far an erasure is."""
    found = await visit.services.people.erasure(visit.app, visit.number)
    if found is None:
        raise not_found()
    headers = {} if found.done_at is not None else {"Refresh": str(_LOOK_S)}
    return Page("erasure.html", {"erasure": told(found)}, headers=headers)


async def export(visit: Visit) -> Reply:
    """Send everything that is stored of somebody, as NDJSON."""
    person = visit.request.query.get("id", "")
    _require(person)
    return Stream(partial(_send, visit, person))


async def _send(visit: Visit, person: str, headers: Mapping[str, str]) -> web.StreamResponse:
    request = visit.request
    named = {
        **headers,
        hdrs.CONTENT_TYPE: "application/x-ndjson",
        hdrs.CONTENT_DISPOSITION: 'attachment; filename="person.ndjson"',
    }
    if request.method == hdrs.METH_HEAD:
        return web.Response(headers=named)
    try:
        with visit.services.questions.export(visit):
            file = await visit.services.people.copy(visit.app, person)
            with files.closed(file):
                response = web.StreamResponse(headers=named)
                await response.prepare(request)
                with files.aborting(request):
                    await files.send(response, file)
                return response
    except Refused as refused:
        raise of_question(refused) from None


def _require(person: str) -> None:
    """Raise Problem where nobody is named."""
    if not person:
        raise Problem(422, "Whose events?", "The address has to name an id.")


ROUTES: Final = (
    Route("GET", "/apps/{app}/person/export", Access.OWNER, export),
    Route("GET", "/apps/{app}/person/erase", Access.OWNER, confirm),
    Route("POST", "/apps/{app}/person/erase", Access.OWNER, erase),
    Route("GET", "/apps/{app}/erasures/{number}", Access.OWNER, show),
)
