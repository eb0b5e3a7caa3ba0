"""What becomes of events of a page when server or Postgres go away while it sends them."""

import asyncio
from asyncio import to_thread
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import pytest
from playwright.async_api import Browser

from ingest.store.cluster import Cluster
from tests.sdks.faults import Site, running_site
from tests.sdks.test_sdks import MODULES
from tests.support.server import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not MODULES.exists(), reason="npm ci --prefix tests/node installs them"),
]

COUNT: Final = 60
TIMEOUT_S: Final = 60


async def stored(
    sdk: str, site: Site, harm: Callable[[Site], None], browser: Browser, shop: str
) -> Counter[int]:
    """Harm a site while a page sends; return what is stored once the page has nothing left."""
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(shop)
        await page.wait_for_function("() => Boolean(window.many)")
        arguments = [sdk, site.server.url, site.key, COUNT]
        sending = asyncio.ensure_future(page.evaluate("all => window.many(...all)", arguments))
        await to_thread(wait_for, lambda: len(site.stored()) > COUNT // 5, TIMEOUT_S)
        await to_thread(harm, site)
        await sending
        await to_thread(wait_for, lambda: len(site.stored()) == COUNT, TIMEOUT_S)
    return await to_thread(site.stored)


@pytest.mark.parametrize("sdk", ["segment", "posthog"])
@pytest.mark.parametrize("harm", [Site.answer_late, Site.lose_postgres, Site.lose_server])
async def test_event_of_a_page_is_stored_once_whatever_happens_meanwhile(
    own_cluster: Cluster, browser: Browser, shop: str, sdk: str, harm: Callable[[Site], None]
) -> None:
    """Answers are late; or all is refused with a 503, as there is no spool; or nobody answers."""
    with ExitStack() as stack:
        running = running_site(own_cluster, spool__enabled="false")
        site = await to_thread(stack.enter_context, running)
        assert await stored(sdk, site, harm, browser, shop) == Counter(range(COUNT))
