"""The two shapes of an answer: a success's JSON, and a refusal's."""

from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from ingest.errors import Refusal

JSON: Final = "application/json"
SERVER: Final = "nonito"


def succeed(body: bytes, status: int = 200) -> web.Response:
    """Return a success with a JSON body."""
    return web.Response(
        status=status, body=body, headers={hdrs.CONTENT_TYPE: JSON, hdrs.SERVER: SERVER}
    )


def refuse(refusal: Refusal) -> web.Response:
    """Return a refusal in the one JSON shape."""
    return web.Response(
        status=refusal.status,
        body=refusal.body(),
        headers={hdrs.CONTENT_TYPE: JSON, hdrs.SERVER: SERVER, **refusal.headers},
    )


def refuse_raw(refusal: Refusal, *, is_last: bool) -> bytes:
    """Return the same as bytes, for a request that aiohttp does not answer."""
    closing: dict[str, str] = {hdrs.CONNECTION: "close"} if is_last else {}
    headers = refusal.headers | closing
    body = refusal.body()
    return head_raw(refusal.status, headers) + b"%d\r\n\r\n%b" % (len(body), body)


def head_raw(status: int, headers: Mapping[str, str]) -> bytes:
    """Return a head as aiohttp would write it, up to the value of Content-Length, its last."""
    fixed = {hdrs.CONTENT_TYPE: JSON, hdrs.SERVER: SERVER, hdrs.DATE: formatdate(usegmt=True)}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in (*fixed.items(), *headers.items())]
    return "\r\n".join([*lines, f"{hdrs.CONTENT_LENGTH}: "]).encode()
