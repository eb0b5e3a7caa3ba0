"""The documentation page at `/`, its static files and `/openapi.json`.

Everything is read once, at the start, and served from memory. Nothing of a request gets into the
answer but the address it was sent to, checked and escaped. The page loads nothing from elsewhere,
and its Content-Security-Policy holds it to that.
"""

import html
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from importlib.resources import files
from typing import Final

from aiohttp import hdrs, web

from ingest.web.address import origin_of
from ingest.web.figures import Figures
from ingest.web.highlight import highlight
from ingest.web.openapi import document

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]

_STATIC: Final = {
    "docs.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
}
COMMON: Final = "common.css"
"""What a style sheet begins with."""
_HTML: Final = "text/html; charset=utf-8"
_JSON: Final = "application/json"

_SAFE: Final[Mapping[str, str]] = {
    hdrs.SERVER: "nonito",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ALWAYS_ASK: Final[Mapping[str, str]] = {hdrs.CACHE_CONTROL: "no-cache"}
_KEEP: Final[Mapping[str, str]] = {hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable"}
_VARY: Final[Mapping[str, str]] = {hdrs.VARY: f"{hdrs.HOST}, {hdrs.X_FORWARDED_PROTO}"}
_ANYBODY: Final[Mapping[str, str]] = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}


class File:
    """One file that is the same for everybody."""

    def __init__(
        self, body: bytes, kind: str, headers: Mapping[str, str] | None = None, version: str = ""
    ) -> None:
        """`version` is what links name, if that is not of these very bytes."""
        self._body = body
        self._headers = {hdrs.CONTENT_TYPE: kind, **(headers or {})}
        self._tag = _digest(body)
        self.version = version or self._tag

    async def get(self, request: web.BaseRequest) -> web.Response:
        """Answer with the file; whoever asks for this very version may keep it for ever."""
        caching = _KEEP if request.query_string == f"v={self.version}" else _ALWAYS_ASK
        return _answer(request, self._body, self._tag, {**self._headers, **caching})


class Page:
    """The documentation page, with the server's address as its reader wrote it."""

    def __init__(self, template: str) -> None:
        self._pieces = [piece.encode() for piece in template.split("{{origin}}")]

    async def get(self, request: web.BaseRequest) -> web.Response:
        """Answer with the page."""
        body = html.escape(origin_of(request)).encode().join(self._pieces)
        headers = {hdrs.CONTENT_TYPE: _HTML, **_ALWAYS_ASK, **_VARY}
        return _answer(request, body, _digest(body), headers)


def routes(figures: Figures) -> Mapping[str, Mapping[str, Handler]]:
    """Read the files; return the handlers by path and method."""
    here = files("ingest.web")
    static = {name: File(_static(name), kind) for name, kind in _STATIC.items()}
    links = {name: f"/docs/{name}?v={file.version}" for name, file in static.items()}
    template = highlight((here / "docs.html").read_text(encoding="utf-8"))
    for name, value in (figures.words() | links).items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return {
        "/": _readable(Page(template).get),
        "/openapi.json": _readable(File(document(figures), _JSON, _ANYBODY).get),
        **{f"/docs/{name}": _readable(file.get) for name, file in static.items()},
    }


def _static(name: str) -> bytes:
    return read(COMMON) + read(name) if name.endswith(".css") else read(name)


def read(name: str) -> bytes:
    """Return a file of this package."""
    return (files("ingest.web") / name).read_bytes()


def _readable(handler: Handler) -> Mapping[str, Handler]:
    return {hdrs.METH_GET: handler, hdrs.METH_HEAD: handler}


def _digest(body: bytes) -> str:
    return blake2b(body, digest_size=12).hexdigest()


def _answer(
    request: web.BaseRequest, body: bytes, version: str, headers: Mapping[str, str]
) -> web.Response:
    """Return 200 with the body, or 304 if the client has this version."""
    tag = f'"{version}"'
    common = {**_SAFE, **headers, hdrs.ETAG: tag}
    known = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, ())).split(",")
    if tag in {one.strip().removeprefix("W/") for one in known}:
        del common[hdrs.CONTENT_TYPE]
        return web.Response(status=304, headers=common)
    return web.Response(body=body, headers=common)
