"""Who has a part in an app: listed, invited by a link, given another role, sent away."""

from typing import Final

from ingest.dashboard.problems import Problem, not_found
from ingest.dashboard.replies import Elsewhere, Page, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.store import accounts, audit_log, sign_in_links
from ingest.store.accounts import Part, Role
from ingest.store.postgres import Connection
from ingest.store.sign_in_links import INVITATION_HOURS, Link
from ingest.web.address import origin_of

_INVITATIONS_MAX: Final = 100


async def show(visit: Visit) -> Reply:
    """List them."""
    return await _page(visit, "")


async def _page(visit: Visit, invitation: str) -> Page:
    app_id = visit.app.id
    found = await visit.services.kept.read(lambda each: accounts.list_of(each, app_id))
    days = INVITATION_HOURS // 24
    return Page("people.html", {"parts": found, "invitation": invitation, "days": days})


async def invite(visit: Visit) -> Reply:
    """Make a link that is to be sent to somebody; the answer is the page that shows it."""
    role, app = _role(visit), visit.app

    async def work(connection: Connection) -> str:
        if await sign_in_links.count_of(connection, app.id) >= _INVITATIONS_MAX:
            raise Problem(422, "Too many invitations are open", "Wait until some were taken.")
        link = Link(app_id=app.id, role=role, made_by=visit.session.account.id)
        token = await sign_in_links.make(connection, link, INVITATION_HOURS)
        await audit_log.note(connection, visit.email, app.id, "made an invitation", role.value)
        return token

    token = await visit.services.kept.change(work)
    return await _page(visit, f"{origin_of(visit.request)}/welcome/{token}")


async def change(visit: Visit) -> Reply:
    """Give somebody another role."""
    role, app = _role(visit), visit.app

    async def work(connection: Connection) -> None:
        part = await _part(connection, visit)
        await accounts.grant(connection, part.account.id, app.id, role)
        told = f"{part.account.email}: {part.role.value} to {role.value}"
        await audit_log.note(connection, visit.email, app.id, "changed a role", told)

    await visit.services.kept.change(work)
    return Elsewhere(f"/apps/{app.id}/people")


async def remove(visit: Visit) -> Reply:
    """Send somebody away."""
    app = visit.app

    async def work(connection: Connection) -> None:
        part = await _part(connection, visit)
        await accounts.withdraw(connection, part.account.id, app.id)
        await audit_log.note(connection, visit.email, app.id, "removed", part.account.email)

    await visit.services.kept.change(work)
    account = visit.session.account
    is_away = visit.number == account.id and not account.is_admin
    return Elsewhere("/apps" if is_away else f"/apps/{app.id}/people")


async def _part(connection: Connection, visit: Visit) -> Part:
    for part in await accounts.list_of(connection, visit.app.id):
        if part.account.id == visit.number:
            return part
    raise not_found()


def _role(visit: Visit) -> Role:
    try:
        return Role(visit.form.get("role", ""))
    except ValueError:
        told = ", ".join(role.value for role in Role)
        raise Problem(422, "There is no such role", f"Choose one of {told}.") from None


ROUTES: Final = (
    Route("GET", "/apps/{app}/people", Access.MEMBER, show),
    Route("POST", "/apps/{app}/people/invite", Access.OWNER, invite),
    Route("POST", "/apps/{app}/people/{number}/role", Access.OWNER, change),
    Route("POST", "/apps/{app}/people/{number}/remove", Access.OWNER, remove),
)
