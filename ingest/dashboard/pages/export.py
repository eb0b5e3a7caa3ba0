"""Exports with the explorer's filter: what `/v1/export` sends, to whoever has signed in."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from aiohttp import hdrs, web

from ingest.api.asking import Asked
from ingest.api.parameters import Parameters
from ingest.dashboard import query, ranges
from ingest.dashboard.pages.explore import USUAL
from ingest.dashboard.replies import Reply, Stream
from ingest.dashboard.routes import Access, Route, Visit


async def send(visit: Visit) -> Reply:
    """Send the events that the explorer shows at the same address."""
    if (elsewhere := query.canonical(visit)) is not None:
        return elsewhere
    chosen = ranges.read(visit, USUAL)
    given = Parameters(chosen.query(visit.request.query), visit.services.export.parameters)
    return Stream(partial(_send, visit, Asked(visit.app, given, datetime.now(UTC))))


async def _send(visit: Visit, asked: Asked, headers: Mapping[str, str]) -> web.StreamResponse:
    if visit.request.method == hdrs.METH_HEAD:
        return web.Response(headers=headers)
    with visit.services.questions.export(visit):
        return await visit.services.export.send(visit.request, asked, headers)


ROUTES: Final = (Route("GET", "/apps/{app}/export", Access.VIEWER, send),)
