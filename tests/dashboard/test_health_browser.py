"""Health and rejected events in a real browser: handsome, harmless, and brought up to date."""

import asyncio

import pytest
from playwright.async_api import Browser, Page, expect

from ingest.delivery.events_table import EVENTS
from ingest.store import rejected
from tests.api.asked import Asked
from tests.dashboard.conftest import Apps
from tests.dashboard.eye import Eye
from tests.dashboard.test_browser import join
from tests.store.events import changed, make_rejected
from tests.support.postgres import fetch, make_postgres
from tests.web.visit import Visit

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

HOSTILE = "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}'\"" + "w" * 150
PARAMS = '{"text": "' + "</textarea><img src=x onerror=alert(1)>" + "w" * 300 + '"}'


async def reject(asked: Asked, app_id: int) -> str:
    """Have a hostile event among the rejected ones; return its id."""
    event = make_rejected(PARAMS, name=HOSTILE, message=HOSTILE)
    async with make_postgres(asked.database_url).session() as connection:
        await rejected.add(connection, EVENTS, [changed(event, app_id=app_id)])
    return str(event.id)


async def test_every_page_is_readable_and_runs_nothing(asked: Asked, apps: Apps, eye: Eye) -> None:
    """With hostile names, parameters and reasons."""
    event_id = await reject(asked, apps["one"])
    eye.visit.statuses_expected = {422}
    page, path = eye.page, f"{asked.url}/apps/{apps['one']}/rejected"
    await join(page, asked)
    for each in (f"{asked.url}/health", path, f"{path}/{event_id}", f"{path}/{event_id}/drop"):
        await page.goto(each)
        await eye.look()
    await page.get_by_role("link", name="Keep it").click()
    await page.get_by_label("Parameters").fill("{")
    await page.get_by_role("button", name="Only save").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await eye.look()
    await page.goto(path)
    await page.get_by_role("button", name="Try to store all").click()
    await expect(page.get_by_role("heading", name="Tried again")).to_be_visible()
    await eye.look()


async def committed(page: Page) -> int:
    """Return how many events the page says to be stored."""
    found = page.locator('[data-metric="nonito_events_committed_total"]')
    return int((await found.inner_text()).replace(",", ""))


async def test_page_brings_itself_up_to_date(asked: Asked, visit: Visit) -> None:
    """Without a load; what is open stays open, and what somebody is in stays as it is."""
    page = visit.page
    await join(page, asked)
    await page.goto(f"{asked.url}/health")
    before = await committed(page)
    await page.get_by_text("Minute by minute").click()
    await page.evaluate("document.activeElement.blur(); window.isSame = true")
    await asyncio.to_thread(asked.send, {"event_name": "seen"})
    row = page.locator('[data-metric="nonito_events_committed_total"]')
    await expect(row).to_have_text(f"{before + 1:,}", timeout=20_000)
    assert await page.evaluate("window.isSame")
    assert await page.locator("#minutes").get_attribute("open") is not None
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("#refreshing")).to_have_text("It stays as it is.")
    await page.get_by_role("button", name="Go on").click()
    await page.get_by_role("region", name="What became of events").focus()
    await asyncio.to_thread(asked.send, {"event_name": "not yet"})
    time = page.locator("#as-of time")
    shown = await page.locator("#as-of").inner_text()
    await expect(page.locator("#as-of")).not_to_have_text(shown, timeout=20_000)
    assert await time.count() == 0 or await time.inner_text()
    assert await committed(page) == before + 1
    await page.evaluate("document.activeElement.blur()")
    await expect(row).to_have_text(f"{before + 2:,}", timeout=20_000)


async def test_event_is_mended_without_a_script(asked: Asked, apps: Apps, browser: Browser) -> None:
    """And what health tells is there as well."""
    event_id = await reject(asked, apps["one"])
    async with await browser.new_context(java_script_enabled=False) as context:
        page = await context.new_page()
        await join(page, asked)
        await page.goto(f"{asked.url}/health")
        assert not await page.get_by_role("button", name="Pause").is_visible()
        await page.goto(f"{asked.url}/apps/{apps['one']}/rejected/{event_id}")
        await page.get_by_label("Event name").fill("mended")
        await page.get_by_label("Parameters").fill('{"n": 1}')
        await page.get_by_role("button", name="Save and store it").click()
        await expect(page.get_by_text("It is stored now.")).to_be_visible()
    ((name,),) = await fetch(
        asked.database_url, "SELECT event_name FROM events WHERE id = $1", event_id
    )
    assert name == "mended"
