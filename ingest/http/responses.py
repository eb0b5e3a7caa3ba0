"""The two shapes of an answer: a success's JSON, and a refusal's. Both take further headers."""

from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web
from aiohttp.payload import Payload

from ingest.delivery.outcome import Ack, Duplicate
from ingest.errors import Code, Refusal
from ingest.http import cors

JSON: Final = "application/json"
SERVER: Final = "nonito"
CODE: Final = web.ResponseKey("code", Code)
"""Where an answer keeps the code of a refusal, for the log of requests."""
CLOSING: Final[Mapping[str, str]] = MappingProxyType({hdrs.CONNECTION: "close"})
"""Headers of a connection's last answer."""
NONE: Final[Mapping[str, str]] = MappingProxyType({})
"""No further headers."""

_FIXED: Final[Mapping[str, str]] = {hdrs.CONTENT_TYPE: JSON, hdrs.SERVER: SERVER}


def status_of(outcome: Ack | Duplicate) -> int:
    """Return the HTTP status of a success."""
    ack = outcome.ack if isinstance(outcome, Duplicate) else outcome
    return 200 if ack is Ack.COMMITTED else 202


def succeed(
    body: bytes | Payload, status: int = 200, headers: Mapping[str, str] = NONE
) -> web.Response:
    """Return a success with a JSON body."""
    return web.Response(status=status, body=body, headers={**_FIXED, **headers})


def no_content(headers: Mapping[str, str]) -> web.Response:
    """Return a success without a body."""
    return web.Response(status=204, headers={hdrs.SERVER: SERVER, **headers})


def refuse(refusal: Refusal) -> web.Response:
    """Return a refusal in the one JSON shape, which any page may read."""
    fixed = {**_FIXED, **_headers_of_refusal(refusal)}
    response = web.Response(status=refusal.status, body=refusal.body(), headers=fixed)
    response[CODE] = refusal.code
    return response


def refuse_raw(refusal: Refusal, more: Mapping[str, str] = NONE, *, is_last: bool) -> bytes:
    """Return a whole refusal as bytes, for a request that aiohttp does not answer."""
    body = refusal.body()
    headers = {**_headers_of_refusal(refusal, more), **(CLOSING if is_last else NONE)}
    return head_raw(refusal.status, headers) + b"%d\r\n\r\n%b" % (len(body), body)


def _headers_of_refusal(refusal: Refusal, more: Mapping[str, str] = NONE) -> Mapping[str, str]:
    headers = {**refusal.headers, **more}
    return {**cors.headers_for(headers), **headers}


def head_raw(status: int, headers: Mapping[str, str] = NONE) -> bytes:
    """Return a head as aiohttp would write it, up to the value of Content-Length, its last."""
    fixed = {**_FIXED, hdrs.DATE: formatdate(usegmt=True), **headers}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fixed.items()]
    return "\r\n".join([*lines, f"{hdrs.CONTENT_LENGTH}: "]).encode()
