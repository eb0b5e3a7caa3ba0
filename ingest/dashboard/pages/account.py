"""One's own account: its password, and where it is signed in."""

from typing import Final

from ingest.dashboard import guesses, passwords
from ingest.dashboard.problems import not_found
from ingest.dashboard.replies import Elsewhere, Page, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.store import accounts, audit_log, sessions, sign_in_links
from ingest.store.postgres import Connection

_WRONG: Final = "This is not your password."


async def show(visit: Visit) -> Reply:
    """Show where one is signed in."""
    return await _page(visit, "")


async def _page(visit: Visit, error: str) -> Page:
    account = visit.session.account
    found = await visit.services.kept.read(lambda each: sessions.list_of(each, account.id))
    values = {"sessions": found, "error": error, "chars_min": passwords.CHARS_MIN}
    return Page("account.html", values, 422 if error else 200)


async def set_password(visit: Visit) -> Reply:
    """Choose another password, which takes the one before; every other session ends."""
    account, services = visit.session.account, visit.services
    if await guesses.account_of(visit, account.email, visit.form.get("password", "")) is None:
        return await _page(visit, _WRONG)
    chosen = visit.form.get("new_password", "")
    if not passwords.is_fit(chosen):
        return await _page(visit, passwords.RULE)
    password_hash = await services.passwords.hash(chosen)

    async def work(connection: Connection) -> None:
        await accounts.set_password(connection, account.id, password_hash)
        await sessions.end_all(connection, account.id, but=visit.session.id)
        await sign_in_links.drop_of(connection, account.id)
        await audit_log.note(connection, account.email, None, "changed the password", account.email)

    await services.kept.change(work)
    return Elsewhere("/account")


async def end_session(visit: Visit) -> Reply:
    """End one session; that of somebody else is not there."""
    account = visit.session.account

    async def work(connection: Connection) -> bool:
        await audit_log.note(connection, account.email, None, "ended a session", account.email)
        return await sessions.end(connection, account.id, visit.number)

    if not await visit.services.kept.change(work):
        raise not_found()
    return Elsewhere("/account")


async def end_others(visit: Visit) -> Reply:
    """End all sessions but this one."""
    session = visit.session

    async def work(connection: Connection) -> None:
        await sessions.end_all(connection, session.account.id, but=session.id)
        email = session.account.email
        await audit_log.note(connection, email, None, "signed out everywhere else", email)

    await visit.services.kept.change(work)
    return Elsewhere("/account")


ROUTES: Final = (
    Route("GET", "/account", Access.SIGNED_IN, show),
    Route("POST", "/account/password", Access.SIGNED_IN, set_password),
    Route("POST", "/account/sessions/{number}/end", Access.SIGNED_IN, end_session),
    Route("POST", "/account/sessions/end-others", Access.SIGNED_IN, end_others),
)
