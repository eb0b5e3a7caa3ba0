"""A headless Chromium for all tests, and pages in it that report what they did."""

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.web.visit import Visit

CHROMIUM = shutil.which("chromium")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
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


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """A new browser profile with one page; afterwards nothing may have gone wrong in it."""
    async with await browser.new_context(
        permissions=["clipboard-read", "clipboard-write"]
    ) as context:
        visited = Visit(await context.new_page())
        yield visited
        assert visited.complaints == []
