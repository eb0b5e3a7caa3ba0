"""Cross-origin requests: any page may send events, with a key and never with cookies.

The routes that are open to browsers say `Access-Control-Allow-Origin: *` on every answer, whoever
asks: then no answer depends on `Origin`, and none costs anything more.
"""

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

from ingest.http.responses import SERVER

ANY_ORIGIN: Final[Mapping[str, str]] = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}
EXPOSED: Final[tuple[str, ...]] = ("Nonito-Duplicate", "Preference-Applied", hdrs.RETRY_AFTER)
"""What a page's script may read besides the body."""

_EXPOSING: Final[Mapping[str, str]] = {
    **ANY_ORIGIN,
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: ", ".join(EXPOSED),
}
_REQUEST_HEADERS: Final = "Content-Type, Content-Encoding, X-API-Key, Idempotency-Key, Prefer"
_PREFLIGHT: Final[Mapping[str, str]] = {
    **ANY_ORIGIN,
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: hdrs.METH_POST,
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _REQUEST_HEADERS,
    hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    hdrs.SERVER: SERVER,
}


def headers_for(answer: Mapping[str, str]) -> Mapping[str, str]:
    """Return what an answer with these headers needs so that a page's script may read it."""
    return _EXPOSING if any(name in answer for name in EXPOSED) else ANY_ORIGIN


async def preflight(_: web.BaseRequest) -> web.Response:
    """Tell a browser what it may send; it asks without a key."""
    return web.Response(status=204, headers=_PREFLIGHT)
