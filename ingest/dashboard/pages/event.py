"""One event in full: as it is stored, and as it would be sent again.

Postgres has it to the last digit. What has been dropped there is in the archive, by its time.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from ingest.api.files import in_time
from ingest.api.parameters import Parameters
from ingest.dashboard import curl, ranges, rows
from ingest.dashboard.problems import not_found
from ingest.dashboard.query import address
from ingest.dashboard.replies import Page, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.dashboard.text import pretty_json
from ingest.insights.answers import Event, EventsAnswer
from ingest.insights.questions import OneEvent
from ingest.store import stored_event
from ingest.store.postgres import Connection
from ingest.store.stored_event import StoredEvent

_INSTANT: Final = timedelta(microseconds=1)
_AROUND: Final = timedelta(minutes=5)
_EARLIER: Final = timedelta(days=1)
_LATER: Final = timedelta(hours=1)
_SOMEWHERE: Final = "https://your-server"
_UUID7: Final = 7
_TIME_BITS: Final = 80
"""Of a UUIDv7 stand behind its time in milliseconds."""

_Reach = tuple[datetime | None, datetime | None]


async def show(visit: Visit) -> Reply:
    """Show an event of the app."""
    event_id = UUID(visit.parts[0])
    given = Parameters(visit.request.query, ("at",))
    at = given.time("at", ZoneInfo("UTC"))
    event = await _stored(visit, event_id) or await _archived(visit, event_id, at)
    if event is None:
        raise not_found()
    return Page("event.html", await in_time(_values, visit, event))  # of a long one it takes long


async def _stored(visit: Visit, event_id: UUID) -> Event | None:
    app = visit.app

    async def work(connection: Connection) -> StoredEvent | None:
        return await stored_event.find(connection, app.id, event_id, app.user_field)

    found = await visit.services.kept.read(work)
    if found is None:
        return None
    return Event(**found._asdict() | {"params": msgspec.Raw(found.params.encode())})


async def _archived(visit: Visit, event_id: UUID, at: datetime | None) -> Event | None:
    """Return an event that is looked for where it most probably is, and then everywhere."""
    for start, end in _reaches(event_id, at):
        question = OneEvent(event_id, start, end)
        found = await visit.services.questions.data(visit, question, EventsAnswer)
        if found.events:
            return found.events[0]
    return None


def _reaches(event_id: UUID, at: datetime | None) -> Iterator[_Reach]:
    if at is not None:
        with suppress(OverflowError):
            yield at, at + _INSTANT
    if event_id.version == _UUID7:
        with suppress(OverflowError, ValueError):  # of a year that no event has
            made = datetime.fromtimestamp((event_id.int >> _TIME_BITS) / 1000, UTC)
            yield made - _EARLIER, made + _LATER
    yield None, None


def _values(visit: Visit, event: Event) -> dict[str, object]:
    explore = f"/apps/{visit.app.id}/explore"
    sent_to = visit.services.ingest_address.of(visit.request) or _SOMEWHERE
    zone = ZoneInfo(visit.app.timezone)
    around = [
        ("from", ranges.written(event.at - _AROUND, zone)),
        ("to", ranges.written(event.at + _AROUND, zone)),
    ]
    return {
        "event": event,
        "json": pretty_json(msgspec.json.encode(event)),
        "curl": curl.of(event, sent_to),
        "same_name": address(explore, [("event", event.name)]),
        "around": address(explore, around),
        "person_path": None if event.person is None else rows.person_path(visit, event.person),
    }


ROUTES: Final = (Route("GET", "/apps/{app}/events/{id}", Access.VIEWER, show),)
