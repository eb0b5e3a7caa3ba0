"""Who changed what, the latest first."""

from typing import Final

from ingest.dashboard.problems import not_found
from ingest.dashboard.replies import Page, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.store import audit_log
from ingest.store.audit_log import Entry
from ingest.store.postgres import Connection

_PAGE: Final = 50
_DIGITS_MAX: Final = 18


async def show_of_app(visit: Visit) -> Reply:
    """Show the changes of one app."""
    return await _page(visit, visit.app.id, visit.app.timezone)


async def show_all(visit: Visit) -> Reply:
    """Show all changes."""
    return await _page(visit, None, "UTC")


async def _page(visit: Visit, app_id: int | None, zone: str) -> Page:
    before = _before(visit)

    async def work(connection: Connection) -> list[Entry]:
        return await audit_log.latest(connection, app_id, _PAGE + 1, before)

    found = await visit.services.kept.read(work)
    last = found[_PAGE - 1].id if len(found) > _PAGE else None
    return Page("audit.html", {"entries": found[:_PAGE], "zone": zone, "older": last})


def _before(visit: Visit) -> int | None:
    text = visit.request.query.get("before", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise not_found()
    return int(text)


ROUTES: Final = (
    Route("GET", "/apps/{app}/changes", Access.OWNER, show_of_app),
    Route("GET", "/changes", Access.ADMIN, show_all),
)
