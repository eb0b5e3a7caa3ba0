"""What a page's handler returns."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Page(NamedTuple):
    """A template, and what it shows."""

    template: str
    values: dict[str, Any]
    status: int = 200
    headers: Mapping[str, str] = {}
    """Beside those of every page."""


class Elsewhere(NamedTuple):
    """Another page, to be asked for; behind every change that has nothing to show."""

    path: str
    cookie: str | None = None
    """To be set, as a whole header."""


Reply = Page | Elsewhere
