"""A shop's page, on an origin of its own, and the SDKs that it has."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import pytest

MODULES: Final = Path(__file__).parents[1] / "node/node_modules"
_SCRIPT: Final = Path(__file__).parent / "browser_sdks.mjs"
_PAGE: Final = b"""<!doctype html><title>Shop</title>
<script type="importmap">
{"imports": {"@openpanel/sdk": "/@openpanel/sdk/dist/index.js"}}
</script>
<script type="module" src="/browser_sdks.mjs"></script>"""


class Shop(SimpleHTTPRequestHandler):
    """A page, and the SDKs as their packages have them."""

    extensions_map = {  # noqa: RUF012 - as its parent has it
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
    }

    def do_GET(self) -> None:
        """Answer with the page, what runs on it, or a file of a package."""
        own = {"/": _PAGE, "/browser_sdks.mjs": _SCRIPT.read_bytes()}.get(self.path)
        if own is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path == "/" else "text/javascript")
        self.send_header("Content-Length", str(len(own)))
        self.end_headers()
        self.wfile.write(own)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def shop() -> Iterator[str]:
    """Where the page is: an origin of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Shop, directory=MODULES)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
