"""A headless Chromium for the tests of a module, and pages in it that report what they did."""

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from ingest.store.cluster import Cluster
from tests.conftest import make_key
from tests.support.postgres import new_database
from tests.support.server import Server, running_server
from tests.web.visit import Visit

CHROMIUM = shutil.which("chromium")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium as the system has it; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=False,  # it refuses to run as root, as containers do
        )
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """A new browser profile with one page; afterwards nothing may have gone wrong in it."""
    async with await browser.new_context(
        permissions=["clipboard-read", "clipboard-write"]
    ) as context:
        visited = Visit(await context.new_page())
        yield visited
        assert visited.complaints == []


@pytest.fixture(scope="module")
def web_url(cluster: Cluster) -> Iterator[str]:
    """A database that the browser tests of a module share."""
    with new_database(cluster) as url:
        yield url


@pytest.fixture(scope="module")
def web_server(web_url: str) -> Iterator[Server]:
    """A server that takes beacons, too."""
    settings = {"server.key_in_query": "true"}
    with running_server(("--database-url", web_url), make_key(web_url), settings) as running:
        yield running
