"""Cross-origin requests: any page may send events, with a key and never with cookies.

1. The routes that are open to browsers say `Access-Control-Allow-Origin: *` on every answer,
   whoever asks: then no answer depends on `Origin`, and none costs anything more.
2. So does every refusal, of any route: a page that has the wrong path is to see its 404.
3. A preflight is answered alike for every path and header: nothing that comes from a page is
   trusted for where it comes from, as no cookie is ever looked at.
"""

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

from ingest.http.request_id import REQUEST_ID

ANY_ORIGIN: Final[Mapping[str, str]] = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}
EXPOSED: Final[tuple[str, ...]] = (
    "Nonito-Duplicate",
    "Preference-Applied",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    hdrs.RETRY_AFTER,
    REQUEST_ID,
)
"""What a page's script may read besides the body."""

_EXPOSING: Final[Mapping[str, str]] = {
    **ANY_ORIGIN,
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: ", ".join(EXPOSED),
}
_REQUEST_HEADERS: Final = (
    "*, Authorization, Content-Type, Content-Encoding, X-API-Key, Idempotency-Key, Prefer"
)
"""The star is for what tracing adds (`traceparent`, `baggage`, `sentry-trace`) and for whatever
comes next. It never stands for Authorization; the others are for browsers that don't know it."""

PREFLIGHT: Final[Mapping[str, str]] = {
    **ANY_ORIGIN,
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "*",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _REQUEST_HEADERS,
    hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
}
"""What tells a browser that it may send anything; it asks without a key."""


def headers_for(answer: Mapping[str, str]) -> Mapping[str, str]:
    """Return what an answer with these headers needs so that a page's script may read it."""
    return _EXPOSING if any(name in answer for name in EXPOSED) else ANY_ORIGIN


def is_preflight(request: web.BaseRequest) -> bool:
    """Whether a browser asks what a page may send, rather than somebody what there is."""
    asked = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    return asked and request.method == hdrs.METH_OPTIONS
