"""The server's own address, as the client that asks for it wrote it."""

import re
from typing import Final

from aiohttp import hdrs, web

DEFAULT_HOST: Final = "localhost:8080"
"""For a request that names no host, or one that could not be a host."""

_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


def origin_of(request: web.BaseRequest) -> str:
    """Return scheme and host, such as `https://events.example.com`; safe in any text."""
    scheme = "https" if _only(request, hdrs.X_FORWARDED_PROTO).lower() == "https" else "http"
    host = _only(request, hdrs.HOST)
    return f"{scheme}://{host if _HOST.fullmatch(host) else DEFAULT_HOST}"


def _only(request: web.BaseRequest, name: str) -> str:
    """Return a header's value; empty if it is missing or comes more than once."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else ""
