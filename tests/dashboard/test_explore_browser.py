"""The explorer, an event and a person in a real browser, with events that mean harm."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.eye import WIDE, Eye
from tests.dashboard.told import HOSTILE, RANGE, made, stored

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def cookies(asked: Asked, admit: Admit) -> list[dict[str, Any]]:
    """The session of somebody who may look; the first app has its events."""
    stored(asked, made())
    kept = admit(Role.VIEWER).browser.cookies
    return [{"name": each.name, "value": each.value, "url": asked.url} for each in kept]


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, cookies: Any) -> AsyncIterator[BrowserContext]:  # noqa: ANN401
    """A browser that is signed in."""
    async with await browser.new_context(
        permissions=["clipboard-read", "clipboard-write"], viewport=WIDE
    ) as made_one:
        await made_one.add_cookies(cookies)
        yield made_one


async def screens(page: Page, explore: str) -> AsyncIterator[str]:
    """Go through all of them, as somebody who clicks."""
    await page.goto(explore)
    yield "the explorer"
    await page.locator(".behind summary").click()
    for each in await page.locator(".fields summary").all():
        await each.click()
    yield "with all that opens"
    await page.goto(f"{explore}&where=nonsense")
    yield "with a filter that is none"
    await page.goto(f"{explore}&event=nobody&where=params.plan:eq:x")
    yield "where nothing matches"
    await page.goto(explore)
    await page.get_by_role("link", name=HOSTILE[:20]).first.click()
    await expect(page.locator(".chips li")).to_have_count(1)
    yield "of a hostile name"
    await page.locator(".list .when a").first.click()
    await expect(page.locator("#json")).to_be_visible()
    yield "an event"
    await page.get_by_role("link", name="This person").click()
    await expect(page.locator(".timeline li").first).to_be_visible()
    yield "a person"
    await page.goto(f"{page.url.partition('?')[0]}?id={'w' * 900}")
    yield "a person of a long name"
    await page.goto(page.url.partition("?")[0])
    yield "no person"


async def test_every_screen_is_readable_and_runs_nothing(
    asked: Asked,
    apps: Apps,
    eye: Eye,
    cookies: Any,  # noqa: ANN401 - as the browser has them
) -> None:
    """With hostile events, as somebody sees it who clicks through."""
    await eye.context.add_cookies(cookies)
    eye.visit.statuses_expected = {400}
    faults = dict[str, object]()
    async for screen in screens(eye.page, f"{asked.url}/apps/{apps['one']}/explore?{RANGE}"):
        faults[screen] = await eye.faults()
    assert len(faults) == 9
    assert {screen: found for screen, found in faults.items() if found} == {}


async def test_bar_narrows_the_range_and_a_value_filters(
    asked: Asked, apps: Apps, context: BrowserContext
) -> None:
    """By a click; the way back is the browser's."""
    page = await context.new_page()
    await page.goto(f"{asked.url}/apps/{apps['one']}/explore?{RANGE}&interval=day")
    await expect(page.locator("#total")).to_have_text("144 events")
    await page.locator(".bars a").nth(3).click()
    await expect(page.locator("#total")).to_have_text("12 events")
    assert "from=2026-03-05&to=2026-03-06" in page.url
    await page.locator(".fields summary", has_text="plan").first.click()
    await page.locator(".fields a").get_by_text("pro", exact=True).click()
    await expect(page.locator(".chips li")).to_contain_text("plan is pro")
    await page.go_back()
    await page.go_back()
    await expect(page.locator("#total")).to_have_text("144 events")


async def test_event_is_copied_by_its_buttons(
    asked: Asked, apps: Apps, context: BrowserContext
) -> None:
    """As JSON and as a command."""
    page = await context.new_page()
    await page.goto(f"{asked.url}/apps/{apps['one']}/explore?{RANGE}")
    await page.locator(".list .when a").first.click()
    for name in ("json", "curl"):
        await page.locator(f'[data-copy="{name}"]').click()
        await expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == await page.locator(f"#{name}").text_content()
        await expect(page.get_by_role("button", name="Copied")).not_to_be_visible()


async def test_everything_works_without_a_script_and_by_keyboard(
    asked: Asked,
    apps: Apps,
    browser: Browser,
    cookies: Any,  # noqa: ANN401 - as above
) -> None:
    """A filter is typed, a range chosen, a page turned, a file exported."""
    async with await browser.new_context(java_script_enabled=False) as context:
        await context.add_cookies(cookies)
        page = await context.new_page()
        await page.goto(f"{asked.url}/apps/{apps['one']}/explore?{RANGE}")
        await page.get_by_role("combobox", name="Filter by").focus()
        await page.keyboard.type("n")
        await page.keyboard.press("Tab")
        await page.keyboard.type("is at least")
        await page.keyboard.press("Tab")
        await page.keyboard.type("44")
        await page.keyboard.press("Enter")
        await expect(page.locator("#total")).to_have_text("100 events")
        await page.get_by_role("link", name="Older").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("link", name="Newest")).to_be_visible()
        await expect(page.locator(".list tbody tr")).to_have_count(50)
        async with page.expect_download() as download:
            await page.get_by_role("link", name="NDJSON").click()
        path = await (await download.value).path()
        lines = await asyncio.to_thread(path.read_text, encoding="utf-8")
        assert len(lines.splitlines()) == 100
