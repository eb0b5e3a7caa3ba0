"""The dashboard in a real browser: every page, light and dark, small and wide, hostile names."""

import asyncio
import re

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from ingest.store.sign_in_links import Link
from tests.api.asked import Asked
from tests.dashboard.eye import Eye
from tests.dashboard.visitor import PASSWORD, make_link
from tests.web.visit import Visit

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}'\"</script>" + "w" * 50
NUMBERS = iter(range(1000))


async def join(page: Page, asked: Asked) -> str:
    """Make an administrator's account, as a newcomer does; return its address."""
    email = f"b{next(NUMBERS)}@example.com"
    token = await asyncio.to_thread(make_link, asked.database_url, Link())
    await page.goto(f"{asked.url}/welcome/{token}")
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Make the account").click()
    await expect(page.get_by_role("heading", name="Apps")).to_be_visible()
    return email


async def make_app(page: Page, name: str) -> None:
    """Make an app, and go to where its keys are."""
    await page.get_by_label("A new app").fill(name)
    await page.get_by_role("button", name="Make the app").click()
    await expect(page.get_by_role("heading", name="Live")).to_be_visible()
    await page.get_by_role("link", name="Keys").click()
    await expect(page.get_by_role("heading", name="Keys")).to_be_visible()


async def follow(clicked: Locator) -> None:
    """Click what leads to another page, and wait until it is there."""
    async with clicked.page.expect_navigation():
        await clicked.click()


async def test_newcomer_gets_a_key_that_works(asked: Asked, visit: Visit) -> None:
    """From the link to the key, which is copied by its button; nobody else's server is asked."""
    page = visit.page
    email = await join(page, asked)
    await make_app(page, "Corner shop")
    await page.get_by_label("Label").fill("website")
    await page.get_by_role("button", name="Make a key").click()
    key = await page.locator("#secret").inner_text()
    assert re.fullmatch(r"nk_[A-Za-z0-9]{43}", key)
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == key
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("link", name="Corner shop").click()
    await page.get_by_role("link", name="Keys").click()
    await expect(page.get_by_role("cell", name=f"{key[:11]}…")).to_be_visible()
    assert {url.split("/")[2] for url in visit.requests} == {asked.url.split("/")[2]}


async def test_every_page_is_readable(asked: Asked, eye: Eye) -> None:
    """With hostile names, and what a form says of what it does not take."""
    eye.visit.statuses_expected = {401, 404, 422}
    page, seen = eye.page, set[str]()

    async def look() -> None:
        seen.add(await page.title())
        await eye.look()

    await page.goto(asked.url)
    await page.get_by_label("E-mail address").fill("nobody@example.com")
    await page.get_by_label("Password").fill(HOSTILE)
    await follow(page.get_by_role("button", name="Sign in"))
    await look()
    await join(page, asked)
    name = f"{HOSTILE[:90]}{next(NUMBERS)}"
    await make_app(page, name)
    await page.get_by_label("Label").fill(HOSTILE[:100])
    await page.get_by_text("Limit what it may send").click()
    await page.get_by_label("Only these event names").fill(HOSTILE)
    await page.get_by_label("Only from these origins").fill(HOSTILE)
    await follow(page.get_by_role("button", name="Make a key"))
    await look()
    await page.get_by_label("Only from these origins").fill(f"https://{'w' * 60}.example")
    await follow(page.get_by_role("button", name="Make a key"))
    await look()
    await follow(page.get_by_role("button", name="Replace"))
    await look()
    tabs = page.get_by_role("navigation", name=name)
    await follow(tabs.get_by_role("link", name="People"))
    await follow(page.get_by_role("button", name="Make a link"))
    await look()
    await follow(tabs.get_by_role("link", name="Settings"))
    await page.get_by_label("User field").fill(HOSTILE[:100])
    await page.get_by_label("Time zone").fill("Nowhere")
    await follow(page.get_by_role("button", name="Save"))
    await look()
    await page.get_by_label("Time zone").fill("Asia/Tokyo")
    await follow(page.get_by_role("button", name="Save"))
    await follow(tabs.get_by_role("link", name="Changes"))
    await look()
    for path in ("/apps", "/account", "/changes", "/nothing"):
        await page.goto(f"{asked.url}{path}")
        await look()
    assert len(seen) == 8


async def test_everything_works_without_a_script(asked: Asked, browser: Browser) -> None:
    """But the button that copies, which is not shown then."""
    async with await browser.new_context(java_script_enabled=False) as context:
        page = await context.new_page()
        await join(page, asked)
        await make_app(page, "Without a script")
        await page.get_by_role("button", name="Make a key").click()
        assert (await page.locator("#secret").inner_text()).startswith("nk_")
        assert not await page.get_by_role("button", name="Copy").is_visible()
        await page.get_by_role("button", name="Revoke").click()
        await expect(page.get_by_role("cell", name="revoked")).to_be_visible()


async def test_keyboard_alone_makes_a_key(asked: Asked, visit: Visit) -> None:
    """The first Tab leads to the content."""
    page = visit.page
    await join(page, asked)
    await make_app(page, "By keyboard")
    await page.reload()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Label")).to_be_focused()
    await page.keyboard.type("keyboard")
    await page.keyboard.press("Enter")
    await expect(page.locator("#secret")).to_be_visible()
    await expect(page.get_by_role("cell", name="keyboard")).to_be_visible()
