"""The SDKs of browsers in Chromium, on a page of another origin: unchanged but for two lines."""

from asyncio import to_thread
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import pytest
from playwright.async_api import Browser

from tests.conftest import make_key
from tests.sdks.test_sdks import MODULES, OPTIONS, ORDER, WHEN, assert_all_there, of_app
from tests.support.postgres import fetch
from tests.support.server import Server, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not MODULES.exists(), reason="npm ci --prefix tests/node installs them"),
]

IDENTITIES: Final = ("$identify", "$groupidentify", "$create_alias")
SDKS: Final[dict[str, tuple[str, ...]]] = {
    "segment": (ORDER, OPTIONS, *IDENTITIES, "$pageview"),
    "rudder": (ORDER, OPTIONS, *IDENTITIES, "$pageview"),
    "posthog": (ORDER, OPTIONS, *IDENTITIES, "$pageview"),
    "amplitude": (ORDER, OPTIONS, "$identify"),
    "openpanel": (ORDER, OPTIONS, "$identify"),
}
UNASKED: Final = {"$pageleave", "$set", "$autocapture", "$web_vitals", "session_start"}
"""What some of them send by themselves."""
PAGE: Final = b"""<!doctype html><title>Shop</title>
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
        own = {"/": PAGE, "/browser_sdks.mjs": _SCRIPT.read_bytes()}.get(self.path)
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


_SCRIPT: Final = Path(__file__).parent / "browser_sdks.mjs"


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """Where the page is: an origin of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Shop, directory=MODULES)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("sdk", SDKS)
async def test_browser_s_sdk_sends_here_unchanged(
    shared_server: Server, shared_database_url: str, browser: Browser, shop: str, sdk: str
) -> None:
    """Each event once, with its parameters and its time."""
    url, expected = shared_database_url, SDKS[sdk]
    key = await to_thread(make_key, url, f"browser {sdk}")
    ((app_id,),) = await fetch(url, "SELECT id FROM apps WHERE name = $1", f"browser {sdk}")

    def names() -> Counter[str]:
        found = Counter(row["event_name"] for row in of_app(url, "events", app_id))
        return Counter({name: n for name, n in found.items() if name not in UNASKED})

    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(shop)
        await page.wait_for_function("() => Boolean(window.run)")
        arguments = [sdk, shared_server.url, key, WHEN.isoformat()]
        await page.evaluate("all => window.run(...all)", arguments)
        await to_thread(wait_for, lambda: names() >= Counter(expected), 30)
    rows = await to_thread(of_app, url, "events", app_id)
    assert_all_there([row for row in rows if row["event_name"] not in UNASKED], expected)
    assert await to_thread(of_app, url, "rejected_events", app_id) == []
