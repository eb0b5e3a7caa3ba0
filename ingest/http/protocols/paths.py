"""Which path speaks which protocol, and what SDKs ask for besides."""

import re
from collections.abc import Collection, Mapping
from typing import Final

import orjson
from aiohttp import hdrs, web

from ingest.errors import Code, Refusal
from ingest.http.protocols import amplitude, openpanel, posthog, segment, umami, which_batch
from ingest.http.protocols.answers import FlatRefusal
from ingest.http.protocols.dialect import Dialect
from ingest.http.protocols.route import SdkRoute
from ingest.http.responses import succeed
from ingest.http.router import Handler, Patterns, Route, ingestion
from ingest.observe.metrics import SDK_ROUTE

_DIALECTS: Final[Mapping[str, Mapping[str, Dialect]]] = {
    "segment": {
        "/v1/batch": segment.batch,
        "/v1/import": segment.batch,
        "/v1/b": segment.batch,
        **{f"/v1/{kind}": segment.single(kind) for kind in segment.KINDS},
        **{f"/v1/{kind[0]}": segment.single(kind) for kind in segment.KINDS},
    },
    "posthog": dict.fromkeys(
        ("/batch", "/capture", "/e", "/i/v0/e", "/i/v1/analytics/events"), posthog.take
    ),
    "amplitude": {"/2/httpapi": amplitude.take, "/batch": amplitude.take},
    "openpanel": {"/track": openpanel.take},
    "umami": {"/api/send": umami.take},
}
_SHARED: Final = "/batch"
_FLAGS: Final = orjson.dumps({"flags": {}, "featureFlags": {}})
_CONFIG: Final = orjson.dumps({"supportedCompression": ["gzip-js"], "hasFeatureFlags": False})
_KEY: Final = "([A-Za-z0-9_-]{1,100})"
_QUERY_KEY: Final = re.compile(rf"(?:^|&)writeKey={_KEY}")
_SETTINGS: Final = re.compile(rf"/v1/projects/{_KEY}/settings")
_ARRAY: Final = re.compile(rf"/array/{_KEY}/config")
_KEY_ERRORS: Final = (Code.MISSING_API_KEY, Code.INVALID_API_KEY)
_PASSING: Final = (Code.REQUEST_TIMEOUT, Code.TOO_MANY_REQUESTS)
_SERVER_ERRORS: Final = 500
_HERE: Final = ("localhost", "127.0.0.1")
"""Pages of https may ask these by http."""


def routes(sdk: SdkRoute, names: Collection[str]) -> Mapping[str, Route]:
    """Return what is served for these protocols, by path; each also with a slash behind it."""
    dialects = {
        path: each
        for name, paths in _DIALECTS.items()
        if name in names
        for path, each in paths.items()
    }
    if {"posthog", "amplitude"} <= {*names}:
        dialects[_SHARED] = which_batch.take
    found = {
        path: ingestion(_handler(sdk, path, each), SDK_ROUTE) for path, each in dialects.items()
    }
    if "segment" in names:
        found["/sourceConfig"] = _reading(_source_config)
    if "posthog" in names:
        found |= dict.fromkeys(("/flags", "/decide"), ingestion(_answering(_FLAGS), SDK_ROUTE))
    return found | {f"{path}/": route for path, route in found.items()}


def patterns(names: Collection[str]) -> Patterns:
    """Return what is served for these protocols at paths that have a key in them."""
    found = list[tuple[re.Pattern[str], Route]]()
    if "posthog" in names:
        found.append((_ARRAY, _reading(_answering(_CONFIG))))
    if "segment" in names:
        found.append((_SETTINGS, _reading(_segment_settings)))
    return found


def _handler(sdk: SdkRoute, path: str, dialect: Dialect) -> Handler:
    is_amplitudes = path in _DIALECTS["amplitude"]
    is_segments = path in _DIALECTS["segment"]

    async def handle(request: web.BaseRequest) -> web.Response:
        try:
            return await sdk.take(request, dialect)
        except Refusal as refusal:
            if is_segments and refusal.code is Code.TOO_MANY_REQUESTS:
                raise FlatRefusal(refusal) from None
            raise _flat(refusal, is_amplitudes=is_amplitudes) from None

    return handle


def _flat(refusal: Refusal, *, is_amplitudes: bool) -> Refusal:
    """Return a refusal as SDKs understand it: what may be better the next time is a 503 to all.

    But for a limit of Segment's and RudderStack's: all of these SDKs send again after a 429, and
    some heed no Retry-After but its. PostHog's in the browser drops what gets one, and Amplitude's
    look in it for whose events are too many.

    Amplitude's gives a key up for a 400 that begins like this; after anything else it goes on.
    """
    if is_amplitudes and refusal.code in _KEY_ERRORS:
        return FlatRefusal(refusal, status=400, prefix="Invalid API key: ")
    if refusal.status >= _SERVER_ERRORS or refusal.code in _PASSING:
        return FlatRefusal(refusal, status=503)
    return FlatRefusal(refusal)


def _answering(body: bytes) -> Handler:
    async def answer(_: web.BaseRequest) -> web.Response:
        return succeed(body)

    return answer


def _reading(handler: Handler) -> Route:
    methods = {hdrs.METH_GET: handler, hdrs.METH_HEAD: handler}
    return Route(methods, is_open_to_browsers=True, name=SDK_ROUTE)


async def _source_config(request: web.BaseRequest) -> web.Response:
    """Tell RudderStack's browser SDK that its source is there, and sends to nobody else."""
    query = request.rel_url.raw_query_string
    silent = {"errors": {"enabled": False}, "metrics": {"enabled": False}}
    source: dict[str, object] = {
        "id": "nonito",
        "name": "nonito",
        "writeKey": found[1] if (found := _QUERY_KEY.search(query)) else "",
        "enabled": True,
        "workspaceId": "nonito",
        "config": {"statsCollection": silent},
        "destinations": [],
        "connections": [],
    }
    return succeed(orjson.dumps({"source": source}))


async def _segment_settings(request: web.BaseRequest) -> web.Response:
    """Tell Segment's browser SDK to send here: it sends nothing without that."""
    found = _SETTINGS.match(request.path)
    key = found[1] if found else ""
    host = request.host.encode("utf-8", "replace").decode()
    source = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": _scheme_of(request)}
    return succeed(orjson.dumps({"integrations": {"Segment.io": source}}))


def _scheme_of(request: web.BaseRequest) -> str:
    """Return how the page reaches this server: a page of https may ask by nothing else."""
    is_secure = request.secure or request.headers.get(hdrs.X_FORWARDED_PROTO, "") == "https"
    is_of_page = request.headers.get(hdrs.ORIGIN, "").startswith("https://")
    is_here = request.host.partition(":")[0] in _HERE
    return "https" if is_secure or (is_of_page and not is_here) else "http"
