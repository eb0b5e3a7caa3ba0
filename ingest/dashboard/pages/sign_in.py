"""Signing in and out, and links that open once: of a new account, or to choose a new password."""

from typing import Final

from aiohttp import hdrs

from ingest.dashboard import cookies, guesses, passwords
from ingest.dashboard.problems import Problem
from ingest.dashboard.replies import Elsewhere, Page, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.store import accounts, audit_log, sessions, sign_in_links
from ingest.store.accounts import EMAIL_CHARS_MAX, Account
from ingest.store.postgres import Connection
from ingest.store.sign_in_links import Link

_WRONG: Final = "This is no account's e-mail address and password."
_EMAIL: Final = "Write an e-mail address, such as ada@example.com."
_TAKEN: Final = "Somebody has an account of this address: sign in, and then open the link again."


async def show_sign_in(visit: Visit) -> Reply:
    """Ask who it is."""
    if visit.found is not None:
        return Elsewhere("/apps")
    return Page("sign_in.html", {"email": "", "error": ""})


async def sign_in(visit: Visit) -> Reply:
    """Begin a session for who knows an account's password."""
    email = accounts.normal(visit.form.get("email", ""))
    account = None
    if _is_email(email):
        account = await guesses.account_of(visit, email, visit.form.get("password", ""))
    if account is None:
        return Page("sign_in.html", {"email": email[:EMAIL_CHARS_MAX], "error": _WRONG}, 401)

    async def work(connection: Connection) -> str:
        return await _begin(connection, visit, account)

    return _begun(visit, await visit.services.kept.change(work))


async def sign_out(visit: Visit) -> Reply:
    """End the session."""
    session = visit.session

    async def work(connection: Connection) -> None:
        await sessions.end(connection, session.account.id, session.id)

    await visit.services.kept.change(work)
    return Elsewhere("/sign-in", cookies.drop(visit.request))


async def show_link(visit: Visit) -> Reply:
    """Show what a link does; whoever only looks, as a mail program does, does not use it up."""
    return _link_page(await _look(visit), visit.found)


async def use_link(visit: Visit) -> Reply:
    """Use a link up."""
    link = await _look(visit)
    if link.app_id is not None and visit.found is not None:
        return await _join(visit, visit.found.account)
    email = accounts.normal(link.email or visit.form.get("email", ""))
    password = visit.form.get("password", "")
    if not _is_email(email):
        return _link_page(link, None, email, _EMAIL)
    if not passwords.is_fit(password):
        return _link_page(link, None, email, passwords.RULE)
    password_hash = await visit.services.passwords.hash(password)

    async def work(connection: Connection) -> str:
        account = await _use(connection, visit.parts[0], email, password_hash)
        return await _begin(connection, visit, account)

    try:
        token = await visit.services.kept.change(work)
    except _Taken:
        return _link_page(link, None, email, _TAKEN)
    if link.account_id is not None:
        visit.services.seen.forget(link.account_id)
    return _begun(visit, token)


def _link_page(link: Link, session: object, email: str = "", error: str = "") -> Page:
    values = {"link": link, "signed_in": session, "email": email, "error": error}
    return Page("link.html", values | {"chars_min": passwords.CHARS_MIN}, 422 if error else 200)


async def _look(visit: Visit) -> Link:
    token = visit.parts[0]
    link = await visit.services.kept.read(lambda connection: sign_in_links.look(connection, token))
    if link is None:
        raise _used_up()
    return link


async def _join(visit: Visit, account: Account) -> Reply:
    """Make somebody who has signed in a part of an app."""

    async def work(connection: Connection) -> None:
        await _take_part(connection, account, await _consume(connection, visit.parts[0]))

    await visit.services.kept.change(work)
    return Elsewhere("/apps")


async def _use(connection: Connection, token: str, email: str, password_hash: str) -> Account:
    """Do what a link says; raise _Taken, and nothing is done, if the address has an account."""
    link = await _consume(connection, token)
    if link.account_id is not None:
        await accounts.set_password(connection, link.account_id, password_hash)
        await sessions.end_all(connection, link.account_id)
        await sign_in_links.drop_of(connection, link.account_id)
        await audit_log.note(connection, email, None, "chose a new password by a link", email)
        found = await accounts.find(connection, email)
        if found is None:
            raise _used_up()
        return found[0]
    is_admin = link.app_id is None
    account = await accounts.create(connection, email, password_hash, is_admin=is_admin)
    if account is None:
        raise _Taken
    await audit_log.note(connection, email, link.app_id, "made an account", email)
    await _take_part(connection, account, link)
    return account


async def _take_part(connection: Connection, account: Account, link: Link) -> None:
    if link.app_id is None or link.role is None:
        return
    has = (await accounts.roles_of(connection, account.id)).get(link.app_id)
    if has is None or not has.includes(link.role):
        await accounts.grant(connection, account.id, link.app_id, link.role)
    changed = f"{account.email}, {link.role.value}"
    await audit_log.note(connection, account.email, link.app_id, "took an invitation", changed)


async def _consume(connection: Connection, token: str) -> Link:
    link = await sign_in_links.consume(connection, token)
    if link is None:
        raise _used_up()
    return link


async def _begin(connection: Connection, visit: Visit, account: Account) -> str:
    """Begin a session with a token of its own: what a browser had before is worth nothing."""
    if visit.found is not None:
        await sessions.end(connection, visit.found.account.id, visit.found.id)
    return await sessions.begin(
        connection, account.id, visit.request.headers.get(hdrs.USER_AGENT, "")
    )


def _begun(visit: Visit, token: str) -> Reply:
    return Elsewhere("/apps", cookies.keep(visit.request, token))


def _used_up() -> Problem:
    return Problem(
        410,
        "This link does not open any more",
        "It was used, or its time is over. Whoever invited you makes another one; on the server "
        "`nonito login` does.",
    )


def _is_email(text: str) -> bool:
    name, _, host = text.rpartition("@")
    is_text = text.isprintable() and " " not in text and len(text) <= EMAIL_CHARS_MAX
    return is_text and bool(name and host)


class _Taken(Exception):  # noqa: N818 - it is an answer
    """The address has an account."""


ROUTES: Final = (
    Route("GET", "/sign-in", Access.ANYBODY, show_sign_in),
    Route("POST", "/sign-in", Access.ANYBODY, sign_in),
    Route("POST", "/sign-out", Access.SIGNED_IN, sign_out),
    Route("GET", "/welcome/{token}", Access.ANYBODY, show_link),
    Route("POST", "/welcome/{token}", Access.ANYBODY, use_link),
)
