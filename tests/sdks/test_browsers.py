"""The SDKs of browsers in Chromium, on a page of another origin: unchanged but for two lines."""

from asyncio import to_thread
from collections import Counter
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
