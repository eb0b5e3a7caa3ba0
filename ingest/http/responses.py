"""The two shapes of an answer: a success's JSON, and a refusal's."""

from typing import Final

from aiohttp import hdrs, web

from ingest.errors import Refusal

JSON: Final = "application/json"
SERVER: Final = "nonito"


def succeed(body: bytes) -> web.Response:
    """Return a 200 with a JSON body."""
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: JSON, hdrs.SERVER: SERVER})


def refuse(refusal: Refusal) -> web.Response:
    """Return a refusal in the one JSON shape."""
    return web.Response(
        status=refusal.status,
        body=refusal.body(),
        headers={hdrs.CONTENT_TYPE: JSON, hdrs.SERVER: SERVER, **refusal.headers},
    )


def refuse_raw(refusal: Refusal) -> bytes:
    """Return the same as bytes, for a connection on which aiohttp has no request to answer."""
    body = refusal.body()
    return (
        f"HTTP/1.1 {refusal.status} Refused\r\n"
        f"{hdrs.CONTENT_TYPE}: {JSON}\r\n"
        f"{hdrs.SERVER}: {SERVER}\r\n"
        f"{hdrs.CONTENT_LENGTH}: {len(body)}\r\n"
        f"{hdrs.CONNECTION}: close\r\n\r\n"
    ).encode() + body
