"""What a path is answered with: a handler for each method, and whether browsers may use it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from aiohttp import hdrs, web

from ingest.http import cors

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]
Methods = Mapping[str, Handler]
"""Handlers by method."""


class Route(NamedTuple):
    """One path."""

    methods: Methods
    is_open_to_browsers: bool = False
    """Whether the scripts of any page may use it; every answer then says so."""


def readable(handler: Handler) -> Methods:
    """Return the methods of what can only be read."""
    return {hdrs.METH_GET: handler, hdrs.METH_HEAD: handler}


def ingestion(handler: Handler) -> Route:
    """Return the route of a handler that takes events, from browsers too."""
    methods = {hdrs.METH_POST: handler, hdrs.METH_OPTIONS: cors.preflight}
    return Route(methods, is_open_to_browsers=True)
