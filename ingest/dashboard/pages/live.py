"""Live: an app's events as they arrive, and for a new app how to send the first one."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from aiohttp import hdrs, web

from ingest.api import asking
from ingest.api.asking import Asked
from ingest.api.parameters import Parameters
from ingest.dashboard import cookies
from ingest.dashboard.live import messages, shown
from ingest.dashboard.live.feed import recent_refusals
from ingest.dashboard.live.reading import FILTERED_MAX, SHOWN_MAX
from ingest.dashboard.live.topic import Topic
from ingest.dashboard.live.viewer import Viewer
from ingest.dashboard.pages import keys
from ingest.dashboard.problems import Problem
from ingest.dashboard.query import address, canonical, pairs, short
from ingest.dashboard.replies import Page, Reply, Stream
from ingest.dashboard.routes import Access, Route, Visit
from ingest.insights import fields
from ingest.insights.matching import Event, matcher
from ingest.store import api_keys, latest
from ingest.store.api_keys import Kind
from ingest.store.latest import Row, Span
from ingest.store.postgres import Connection

_PARAMETERS: Final = frozenset(("event", "where"))
_WHERE_CHARS_MAX: Final = 1_000
"""Of all filters: each is tried on hundreds of events a second."""
_SCANNED_MAX: Final = 5_000
_REFUSED_FOR: Final = timedelta(minutes=10)
_FIELDS_MAX: Final = 100
_CHECK_S: Final = 15.0
_STREAM_S: Final = 600.0
"""So long a stream goes on; then a browser comes again."""
_PLACEHOLDER: Final = "YOUR_API_KEY"
_SOMEWHERE: Final = "https://YOUR_SERVER"
_FIRST_KEY: Final = keys.Wanted(Kind.WRITE, "first", days=None, limits=None)
_OVER: Final = "You are signed out, or may not see this app any more. Load the page again."


class _Before(NamedTuple):
    """What was there before somebody came to watch."""

    rows: Sequence[Row]
    looked_at: int
    """As many were looked through; 0 if there is none at all."""
    has_key: bool
    mark: int
    """What comes behind it is new."""


async def show(visit: Visit) -> Reply:
    """Show the latest events; whatever comes from then on a script adds."""
    return canonical(visit) or await _page(visit, "")


async def create_key(visit: Visit) -> Reply:
    """Make a key that sends events; the answer is the page that shows it."""
    return await _page(visit, await keys.make(visit, _FIRST_KEY))


async def _page(visit: Visit, secret: str) -> Page:
    topic = _topic(visit)
    before = await visit.services.kept.read(lambda each: _read(each, topic))
    visit.services.live.note_mark(before.mark)
    now = datetime.now(UTC)
    refused = recent_refusals(visit.services.live.refusals(), topic, now, _REFUSED_FOR)
    values = {
        "entries": _entries(topic, before, refused, now),
        "is_new": before.looked_at == 0 and topic.name is None and topic.where is None,
        "has_key": before.has_key,
        "looked_at": before.looked_at,
        "shown_max": SHOWN_MAX,
        "fields": _fields(before.rows),
        "names": sorted({row.name for row in before.rows if row.name.isprintable()}),
        "stream": address(f"/apps/{visit.app.id}/live/stream", pairs(visit)),
        "ingest_address": visit.services.ingest_address.of(visit.request) or _SOMEWHERE,
        "key": secret or _PLACEHOLDER,
        "secret": secret,
    }
    return Page("live.html", values)


def _topic(visit: Visit) -> Topic:
    """Return what a page's address asks to see; raise Refused."""
    given = Parameters(visit.request.query, _PARAMETERS)
    if sum(map(len, given.many("where"))) > _WHERE_CHARS_MAX:
        raise Problem(422, "These are too many filters", "Take some of them away.")
    chosen = asking.events(Asked(visit.app, given, datetime.now(UTC))).events
    return Topic(visit.app, chosen.name, chosen.where, visit.session.account.is_admin)


async def _read(connection: Connection, topic: Topic) -> _Before:
    """Return the latest events that are meant, of the latest that there are."""
    app = topic.app
    mark = await latest.mark(connection)
    found = await latest.scan(
        connection,
        app.id,
        topic.name,
        Span(latest.EARLIEST, latest.LATEST),
        scanned_max=_SCANNED_MAX if topic.name is not None else FILTERED_MAX,
        ids_max=SHOWN_MAX if topic.where is None else FILTERED_MAX,
    )
    rows = await latest.read(connection, app.id, app.user_field, found.ids) if found.ids else []
    listed = await api_keys.list_of(connection, app.id)
    has_key = any(
        key.kind is Kind.WRITE and key.state(datetime.now(UTC)) == "active" for key in listed
    )
    return _Before(rows, found.looked_at, has_key, mark)


def _entries(
    topic: Topic, before: _Before, refused: Sequence[shown.ShownRefusal], now: datetime
) -> list[Mapping[str, Any]]:
    """Return events and refusals together, the latest first."""
    matches = matcher(topic.where)
    meant = [
        row
        for row in before.rows
        if topic.where is None
        or (row.params and matches(Event(row.name, row.person, shown.parsed(row.params))))
    ]
    app = topic.app
    events = [shown.event(row, app.id, app.timezone, now)._asdict() for row in meant[:SHOWN_MAX]]
    both = [*events, *(each._asdict() for each in refused)]
    return sorted(both, key=lambda each: datetime.fromisoformat(each["time"]), reverse=True)


def _fields(rows: Sequence[Row]) -> list[str]:
    """Return how the parameters of some events are written as fields."""
    found = {
        short(fields.write(("params", key)))
        for row in rows
        if row.params and isinstance(params := shown.parsed(row.params), dict)
        for key in params
        if key and key.isprintable()
    }
    return sorted(found)[:_FIELDS_MAX]


async def stream(visit: Visit) -> Reply:
    """Send what is new, as long as whoever has signed in may see it."""
    topic = _topic(visit)
    token = cookies.read(visit.request) or ""

    async def send(headers: Mapping[str, str]) -> web.StreamResponse:
        named = {
            **headers,
            hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
            "X-Accel-Buffering": "no",
        }
        live, account_id = visit.services.live, visit.session.account.id
        if visit.request.method == hdrs.METH_HEAD:
            live.require_room(topic, account_id)
            return web.Response(headers=named)
        viewer = live.join(topic, account_id)
        try:
            return await _send(visit, topic, viewer, token, named)
        finally:
            live.leave(topic, viewer)

    return Stream(send)


async def _send(
    visit: Visit, topic: Topic, viewer: Viewer, token: str, headers: Mapping[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    await response.prepare(visit.request)
    await response.write(messages.BEGIN)
    loop = asyncio.get_running_loop()
    end_s, checked_s = loop.time() + _STREAM_S, loop.time()
    async for message in viewer.messages():
        if loop.time() - checked_s > _CHECK_S:
            checked_s = loop.time()
            if not await visit.services.live.may_watch(topic, token):
                await response.write(messages.over(_OVER))
                break
        await response.write(message)
        if loop.time() > end_s:
            break
    return response


ROUTES: Final = (
    Route("GET", "/apps/{app}/live", Access.VIEWER, show),
    Route("GET", "/apps/{app}/live/stream", Access.VIEWER, stream),
    Route("POST", "/apps/{app}/live", Access.MEMBER, create_key),
)
