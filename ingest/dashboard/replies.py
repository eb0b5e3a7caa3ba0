"""What a page's handler returns."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web


class Page(NamedTuple):
    """A template, and what it shows."""

    template: str
    values: dict[str, Any]
    status: int = 200
    headers: Mapping[str, str] = {}
    """Beside those of every page."""


class Part(NamedTuple):
    """A piece of a page, and what it shows."""

    template: str
    values: dict[str, Any]


class Growing(NamedTuple):
    """A page whose template says {{ later }} where its parts come: it is seen before they are."""

    page: Page
    parts: AsyncGenerator[Part, None]
    """Closed when nobody reads them any more. What one raises is shown in its place, and the page
    ends well."""


class Elsewhere(NamedTuple):
    """Another page, to be asked for; behind every change that has nothing to show."""

    path: str
    cookie: str | None = None
    """To be set, as a whole header."""


class Stream(NamedTuple):
    """What sends an answer by itself, given the headers of every answer."""

    send: Callable[[Mapping[str, str]], Awaitable[web.StreamResponse]]


Reply = Page | Growing | Elsewhere | Stream
