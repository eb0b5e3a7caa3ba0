"""The router: what each path is answered with, and the one shape of whatever goes wrong.

This lane is the reference: whatever else takes events answers as it does.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, cast

import structlog
from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from ingest.errors import Code, Refusal
from ingest.http import cors
from ingest.http.authentication import APP
from ingest.http.connection import Connection, body_bytes
from ingest.http.request_id import REQUEST_ID, TRACEPARENT, headers_of_id, request_id_of
from ingest.http.request_log import OTHER, RequestLog
from ingest.http.responses import CODE, no_content, refuse
from ingest.observe.metrics import OTHER_ROUTE, PAGE_ROUTE, ROUTES, Metrics

log = structlog.get_logger(__name__)

VERSIONS: Final = (HttpVersion11, HttpVersion10)
_CLOSING: Final = {Code.BAD_REQUEST, Code.REQUEST_TIMEOUT}
"""Behind these nobody knows where the next request begins."""

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]
Methods = Mapping[str, Handler]
"""Handlers by method."""
Patterns = Sequence[tuple[re.Pattern[str], "Route"]]
"""Routes by what their whole path looks like, of paths that have something of their own in them."""


class Route(NamedTuple):
    """What one path is answered with."""

    methods: Methods
    is_open_to_browsers: bool = False
    """Whether the scripts of any page may read its successes; every answer then says so."""
    name: str = ""
    """What the metrics call it; empty: its path, or a page."""
    is_for_operators: bool = False
    """Whether a proxy may keep it from the public: then only its plain spelling leads here, and
    `/m%65trics` is no way around a proxy's rule for `/metrics`."""


def operational(handler: Handler) -> Route:
    """Return the route of what operators, load balancers and Prometheus read."""
    return Route({hdrs.METH_GET: handler, hdrs.METH_HEAD: handler}, is_for_operators=True)


def ingestion(handler: Handler, name: str = "") -> Route:
    """Return the route of a handler that takes events, from browsers too."""
    methods = {hdrs.METH_POST: handler, hdrs.METH_OPTIONS: _preflight}
    return Route(methods, is_open_to_browsers=True, name=name)


async def _preflight(_: web.BaseRequest) -> web.Response:
    """Tell a browser what it may send."""
    return no_content(cors.PREFLIGHT)


class Router:
    """The table of routes."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        metrics: Metrics,
        requests: RequestLog | None = None,
        patterns: Patterns = (),
    ) -> None:
        self._routes = routes
        self._patterns = patterns
        self._requests = requests or RequestLog()
        self._metrics = metrics
        self._is_stopping = False

    def stop(self) -> None:
        """From now on close every connection behind its answer."""
        self._is_stopping = True

    async def dispatch(self, request: web.BaseRequest) -> web.Response:
        """Answer a request; whatever happens, in our one shape."""
        route = self._route_of(request)
        started_s = time.monotonic() if self._requests.is_on else 0.0
        response = await _answer(request, route)
        request_id = _request_id_of(request)
        response.headers.update(headers_of_id(request_id))
        if _is_open(route, response):
            response.headers.update(cors.headers_for(response.headers))
        if self._is_stopping or _connection(request).is_last:
            response.force_close()
        self._metrics.answers[_name_of(route, request), response.status] += 1
        if self._requests.is_on:
            self._requests.note(
                request.method,
                self._told(route, request),
                response.status,
                code=response.get(CODE),
                app=request.get(APP),
                request_id=request_id,
                started_s=started_s,
            )
        return response

    def _route_of(self, request: web.BaseRequest) -> Route | None:
        route = self._routes.get(request.path) or self._match(request.path)
        if route is not None and route.is_for_operators and not _is_plain(request):
            return None
        return route

    def _told(self, route: Route | None, request: web.BaseRequest) -> str:
        """Return what the log calls a path; one that is like a pattern may have a key in it."""
        if route is None:
            return OTHER
        return request.path if request.path in self._routes else route.name

    def _match(self, path: str) -> Route | None:
        return next((route for pattern, route in self._patterns if pattern.fullmatch(path)), None)


async def _answer(request: web.BaseRequest, route: Route | None) -> web.Response:
    try:
        response = await _handler(request, route)(request)
        if request.method == hdrs.METH_GET:
            _connection(request).page.resize(body_bytes(response))
    except Refusal as refusal:
        response = refuse(refusal)
        if refusal.code in _CLOSING:
            response.force_close()
            _connection(request).close_behind_answer()
    except Exception:
        log.exception("a request failed", method=request.method)
        response = refuse(Refusal(Code.INTERNAL_ERROR, "The server failed; see its log."))
    return response


def _handler(request: web.BaseRequest, route: Route | None) -> Handler:
    if request._version not in VERSIONS:  # noqa: SLF001 - `version` would be cached
        request._version = HttpVersion11  # noqa: SLF001 - and the answer would repeat it
        raise Refusal(Code.BAD_REQUEST, "Speak HTTP/1.1 or HTTP/1.0.")
    if cors.is_preflight(request):
        return _preflight
    if route is None:
        raise Refusal(Code.NOT_FOUND, "There is nothing here; events go to POST /event or /events.")
    handler = route.methods.get(request.method)
    if handler is None:
        allow = ", ".join(route.methods)
        raise Refusal(Code.METHOD_NOT_ALLOWED, f"Use {allow} here.", allow=allow)
    return handler


def _request_id_of(request: web.BaseRequest) -> str:
    headers = request.headers
    return request_id_of(headers.getall(REQUEST_ID, ()), headers.getall(TRACEPARENT, ()))


def _is_open(route: Route | None, response: web.Response) -> bool:
    """Whether the scripts of any page may read an answer; a refusal says so itself."""
    is_open = route is not None and route.is_open_to_browsers
    return is_open or hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in response.headers


def _name_of(route: Route | None, request: web.BaseRequest) -> str:
    """Return what the metrics call a route."""
    if route is None:
        return OTHER_ROUTE
    if route.name:
        return route.name
    return request.path if request.path in ROUTES else PAGE_ROUTE


def _is_plain(request: web.BaseRequest) -> bool:
    """Whether a request's target spells its path as we do, with or without an authority."""
    target = request.raw_path.partition("?")[0]
    if not target.startswith("/"):
        target = "/" + target.partition("://")[2].partition("/")[2]
    return target == request.path


def _connection(request: web.BaseRequest) -> Connection:
    return cast("Connection", request.protocol)
