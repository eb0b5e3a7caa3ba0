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
from tests.dashboard.test_browser import PHONE, WIDE
from tests.dashboard.told import HOSTILE, RANGE, made, stored
from tests.support.axe import violations
from tests.support.looks import CONTRAST_MIN, CONTRASTS, overflow_px
from tests.web.visit import Visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOKS = [(scheme, window) for scheme in ("light", "dark") for window in (PHONE, WIDE)]


@pytest.fixture(scope="module")
def cookies(asked: Asked, admit: Admit) -> list[dict[str, Any]]:
    """The session of somebody who may look; the first app has its events."""
    stored(asked, made())
    kept = admit(Role.VIEWER).browser.cookies
    return [{"name": each.name, "value": each.value, "url": asked.url} for each in kept]


@pytest_asyncio.fixture(loop_scope="module")
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


@pytest.mark.parametrize(("scheme", "window"), LOOKS)
async def test_every_screen_is_readable_and_runs_nothing(
    asked: Asked,
    apps: Apps,
    browser: Browser,
    cookies: Any,  # noqa: ANN401 - as the browser has them
    scheme: Any,  # noqa: ANN401 - a literal
    window: Any,  # noqa: ANN401 - as well
) -> None:
    """No script, no overflow, contrast everywhere, and no request to another host."""
    async with await browser.new_context(color_scheme=scheme, viewport=window) as context:
        await context.add_cookies(cookies)
        visit = Visit(await context.new_page())
        visit.statuses_expected = {400}
        page, dialogs, seen = visit.page, list[object](), list[str]()
        page.on("dialog", lambda dialog: dialogs.append(dialog))  # noqa: PLW0108 - no builtin
        async for screen in screens(page, f"{asked.url}/apps/{apps['one']}/explore?{RANGE}"):
            seen.append(screen)
            assert await overflow_px(page) <= 0, screen
            contrasts = await page.evaluate(CONTRASTS)
            assert [text for text in contrasts if text[1] < CONTRAST_MIN] == [], screen
            assert await page.locator("img").count() == 0
            assert "\u202e" not in await page.inner_text("body")
        assert len(seen) == 9
        assert (visit.complaints, dialogs) == ([], [])
        assert {url.split("/")[2] for url in visit.requests} == {asked.url.split("/")[2]}


@pytest.mark.parametrize(("scheme", "window"), [("light", WIDE), ("dark", PHONE)])
async def test_axe_finds_nothing_on_any_screen_with_events(
    asked: Asked,
    apps: Apps,
    browser: Browser,
    cookies: Any,  # noqa: ANN401 - as above
    scheme: Any,  # noqa: ANN401 - as above
    window: Any,  # noqa: ANN401 - as above
) -> None:
    """Hostile ones."""
    async with await browser.new_context(color_scheme=scheme, viewport=window) as context:
        await context.add_cookies(cookies)
        page, found = await context.new_page(), {}
        async for screen in screens(page, f"{asked.url}/apps/{apps['one']}/explore?{RANGE}"):
            found[screen] = await violations(page)
    assert {screen: each for screen, each in found.items() if each} == {}


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
