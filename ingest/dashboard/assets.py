"""The files that pages load: from memory, compressed for whoever takes that."""

import zlib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from ingest.web.pages import COMMON, File, read

_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_FAVICON: Final = "favicon.svg"
_PREFIX: Final = "/static/"
_GZIP: Final = "gzip"
_GZIP_BITS: Final = 31
_VARY: Final[Mapping[str, str]] = {hdrs.VARY: hdrs.ACCEPT_ENCODING}


class Asset:
    """One file, as it is and compressed."""

    def __init__(self, body: bytes, kind: str) -> None:
        self._plain = File(body, kind, _VARY)
        self.version = self._plain.version
        compressed = zlib.compress(body, level=9, wbits=_GZIP_BITS)
        headers: Mapping[str, str] = {hdrs.CONTENT_ENCODING: _GZIP, **_VARY}
        self._compressed = File(compressed, kind, headers, self.version)

    async def get(self, request: web.BaseRequest) -> web.Response:
        """Answer with the file."""
        taken = ",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, ())).lower()
        is_compressed = _GZIP in {each.strip() for each in taken.split(",")}
        return await (self._compressed if is_compressed else self._plain).get(request)


def read_all() -> Mapping[str, Asset]:
    """Return what lies at which path."""
    return {f"{_PREFIX}{name}": asset for name, asset in _named()}


def links(assets: Mapping[str, Asset]) -> Mapping[str, str]:
    """Return by name where each is loaded from, as this version of it."""
    return {
        path.removeprefix(_PREFIX): f"{path}?v={asset.version}" for path, asset in assets.items()
    }


def _named() -> Iterator[tuple[str, Asset]]:
    """Yield all files; the style sheet of all pages begins with what the documentation has too."""
    yield _FAVICON, Asset(read(_FAVICON), "image/svg+xml")
    for each in (files("ingest.dashboard") / "static").iterdir():
        body = each.read_bytes()
        whole = read(COMMON) + body if each.name == "dashboard.css" else body
        yield each.name, Asset(whole, _KINDS[Path(each.name).suffix])
