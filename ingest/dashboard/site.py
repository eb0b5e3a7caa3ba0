"""The site of the dashboard: finds the route, looks who it is, and makes the answer of a reply."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple, assert_never

from aiohttp import hdrs, web

from ingest.config import Limits
from ingest.dashboard import cookies, forms
from ingest.dashboard.pages import (
    account,
    apps,
    audit,
    behind,
    boards,
    erasing,
    event,
    explore,
    export,
    figures,
    health,
    keys,
    limits,
    live,
    people,
    person,
    rejected,
    sign_in,
)
from ingest.dashboard.parts import trouble
from ingest.dashboard.problems import Problem, not_found, trouble_of
from ingest.dashboard.rendering import Rendering
from ingest.dashboard.replies import Elsewhere, Growing, Page, Part, Reply, Stream
from ingest.dashboard.routes import Access, Needs, Route, Sends, Visit
from ingest.dashboard.services import Services
from ingest.dashboard.troubles import problem_of
from ingest.http.bodies import BodyReader
from ingest.store import app_settings, sessions
from ingest.store.accounts import Role
from ingest.store.app_settings import AppSettings
from ingest.store.failures import Unavailable, while_sending
from ingest.store.postgres import Connection
from ingest.store.sessions import Session

ROUTES: Final[Sequence[Route]] = (
    *sign_in.ROUTES,
    *account.ROUTES,
    *apps.ROUTES,
    *live.ROUTES,
    *keys.ROUTES,
    *limits.ROUTES,
    *people.ROUTES,
    *audit.ROUTES,
    *explore.ROUTES,
    *event.ROUTES,
    *export.ROUTES,
    *person.ROUTES,
    *erasing.ROUTES,
    *rejected.ROUTES,
    *health.ROUTES,
    *figures.ROUTES,
    *behind.ROUTES,
    *boards.ROUTES,
)
_HEADERS: Final[Mapping[str, str]] = {
    hdrs.SERVER: "nonito",
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_AWAY_S: Final = 1.0
"""So long Postgres is asked once more, where the workers say that it is away."""
_HTML: Final = "text/html; charset=utf-8"

_Matched = tuple[Route, re.Match[str]]


class _Who(NamedTuple):
    session: Session | None
    app: AppSettings | None


class Site:
    """Answers with pages."""

    def __init__(self, services: Services, limits: Limits) -> None:
        self._bodies = BodyReader(limits.body_timeout_s)
        self._event_bytes_max = forms.bytes_max_with(limits.body_bytes_max)
        self._services = services
        self._rendering = Rendering()
        self._routes = [(route, route.pattern) for route in ROUTES]

    def has(self, path: str) -> bool:
        """Return whether a path is one of a page, whoever asks."""
        return path == "/" or self._rendering.asset(path) is not None or any(self._matching(path))

    async def dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, with a page whatever happens."""
        is_read = request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
        if is_read and (asset := self._rendering.asset(request.path)) is not None:
            return await asset.get(request)
        visit = Visit(self._services, request)
        try:
            return await self._answer(visit, await self._reply(visit))
        except _SignInFirst:
            return _redirect("/sign-in")
        except ConnectionError:  # whoever asked has left
            return _cut_off(request)
        except Exception as error:  # noqa: BLE001 - it is said, and logged
            problem = problem_of(visit, error)
            if request.writer.output_size:
                return _cut_off(request)
            return await self._answer(visit, _page_of(problem))

    async def _reply(self, visit: Visit) -> Reply:
        """Let a visit in, and do what it is for; raise Problem."""
        request = visit.request
        route, match = self._route(request)
        named = match.groupdict().get("app")
        visit.page = f"{route.method} {route.path}"
        visit.parts = match.groups()[1:] if named else match.groups()
        if request.method != hdrs.METH_POST:
            app = await self._look(visit, route, named)
            _admit(visit, route.access, app)
            return await route.handler(visit)
        return await self._change(visit, route, named)

    async def _change(self, visit: Visit, route: Route, named: str | None) -> Reply:
        """Do what a form is for; of whoever sends it some session may have ended then."""
        request = visit.request
        if route.sends is Sends.FIELDS:
            visit.form = await forms.read(request, self._bodies, forms.FIELDS_BYTES_MAX)
        app = await self._look(visit, route, named)
        _admit(visit, route.access, app)
        if route.sends is Sends.EVENT:
            visit.form = await forms.read(request, self._bodies, self._event_bytes_max)
        try:
            return await route.handler(visit)
        finally:
            if visit.found is not None:
                self._services.seen.forget(visit.found.account.id)

    def _route(self, request: web.BaseRequest) -> _Matched:
        path = "/apps" if request.path == "/" else request.path
        method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
        found = self._matching(path)
        for route, match in found:
            if route.method == method:
                return route, match
        if not found:
            raise not_found()
        allow = ", ".join(route.method for route, _ in found)
        raise Problem(405, "This can't be done here", f"Use {allow}.", {hdrs.ALLOW: allow})

    def _matching(self, path: str) -> list[_Matched]:
        return [
            (route, match) for route, pattern in self._routes if (match := pattern.fullmatch(path))
        ]

    async def _look(self, visit: Visit, route: Route, named: str | None) -> AppSettings | None:
        """Find whose a visit is; return the app that is named. Raises Unavailable."""
        token = cookies.read(visit.request)
        if token is None:
            return None
        try:
            visit.found, app = await self._ask(token, int(named) if named else None, route.needs)
        except Unavailable as failure:
            session = self._services.seen.of(token)
            if route.needs is Needs.POSTGRES or session is None:
                raise
            visit.found, visit.trouble = session, trouble_of(failure)
            return None
        self._services.seen.note(token, visit.found)
        return app

    async def _ask(self, token: str, app_id: int | None, needs: Needs) -> _Who:
        async def work(connection: Connection) -> _Who:
            session = await sessions.find(connection, token)
            app = await app_settings.find(connection, app_id) if session and app_id else None
            return _Who(session, app)

        is_away = not self._services.segment.is_postgres_up
        patience_s = _AWAY_S if is_away and needs is Needs.MEMORY else None
        try:
            async with asyncio.timeout(patience_s):
                return await self._services.kept.read(work)
        except TimeoutError as error:
            raise while_sending(error) from error

    async def _answer(self, visit: Visit, reply: Reply) -> web.StreamResponse:
        match reply:
            case Page():
                body = await self._rendering.page(visit, reply)
                return web.Response(status=reply.status, body=body, headers=_headers(reply))
            case Growing():
                return await self._grow(visit, reply)
            case Elsewhere():
                return _redirect(reply.path, reply.cookie)
            case Stream():
                return await reply.send(_HEADERS)
            case _:
                assert_never(reply)

    async def _grow(self, visit: Visit, growing: Growing) -> web.StreamResponse:
        """Send what a page begins with at once, and each part as soon as it is there."""
        page = growing.page
        before, behind = await self._rendering.around(visit, page)
        response = web.StreamResponse(status=page.status, headers=_headers(page))
        await response.prepare(visit.request)
        if visit.request.method == hdrs.METH_HEAD:
            return response
        await response.write(before)
        async with aclosing(growing.parts) as parts:
            await self._send(visit, response, parts)
        await response.write(behind)
        return response

    async def _send(
        self, visit: Visit, response: web.StreamResponse, parts: AsyncGenerator[Part, None]
    ) -> None:
        """Send each part as soon as it is there, and what went wrong."""
        try:
            async for part in parts:
                await response.write(await self._rendering.page(visit, part))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - as of a whole page
            told = trouble(problem_of(visit, error))
            await response.write(await self._rendering.page(visit, told))


def _cut_off(request: web.BaseRequest) -> web.Response:
    """Have nobody take an answer that has begun, and can't be finished, for a whole one."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # of which nothing is sent any more


def _page_of(problem: Problem) -> Page:
    return Page("problem.html", {"problem": problem}, problem.status, problem.headers)


def _headers(page: Page) -> Mapping[str, str]:
    return {**_HEADERS, hdrs.CONTENT_TYPE: _HTML, **page.headers}


def _admit(visit: Visit, access: Access, app: AppSettings | None) -> None:
    """Let a visit in, or raise Problem: what is not theirs is not there."""
    session = visit.found
    if access is not Access.ANYBODY and session is None:
        raise _SignInFirst
    if access is Access.ADMIN and not (session and session.account.is_admin):
        raise not_found()
    if access.role is not None:
        visit.app, visit.role = _in_app(session, app, access.role)


def _in_app(
    session: Session | None, app: AppSettings | None, needed: Role
) -> tuple[AppSettings, Role]:
    role = session.role_in(app.id) if session and app else None
    if app is None or role is None:
        raise not_found()
    if not role.includes(needed):
        told = f"You are a {role.value} of this app; ask somebody who is its {needed.value}."
        raise Problem(403, "This is for others to do", told)
    return app, role


def _redirect(path: str, cookie: str | None = None) -> web.Response:
    headers = {**_HEADERS, hdrs.LOCATION: path}
    if cookie is not None:
        headers[hdrs.SET_COOKIE] = cookie
    return web.Response(status=303, headers=headers)


class _SignInFirst(Exception):  # noqa: N818 - it is an answer
    """Nobody has signed in, where somebody has to."""
