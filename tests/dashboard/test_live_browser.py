"""Live in a real browser: what arrives is seen, hostile names are text, nothing is lost unsaid."""

import asyncio
from typing import Any

import pytest
import requests
from playwright.async_api import Page, expect

from tests.api.asked import TIMEOUT_S, Asked
from tests.dashboard.conftest import Apps
from tests.dashboard.eye import Eye
from tests.dashboard.test_browser import HOSTILE, join
from tests.web.visit import Visit

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

NUMBERS = iter(range(1_000))
SEEN = """(isHidden) => {
  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


async def new_app(page: Page) -> str:
    """Make an app, and be where its first event is waited for; return a key that was made there."""
    await page.get_by_label("A new app").fill(f"Waiting {next(NUMBERS)}")
    await page.get_by_role("button", name="Make the app").click()
    await expect(page.get_by_role("heading", name="Waiting for the first event")).to_be_visible()
    await page.get_by_role("button", name="Make a key").click()
    return await page.locator("#secret").inner_text()


async def send(asked: Asked, key: str, body: Any) -> None:  # noqa: ANN401 - any JSON
    """Send an event, or what is none."""
    headers = {"X-API-Key": key}
    post = requests.post
    await asyncio.to_thread(
        post, f"{asked.server.url}/event", json=body, headers=headers, timeout=TIMEOUT_S
    )


async def test_newcomer_sees_why_the_first_try_is_refused_and_then_the_first_event(
    asked: Asked, visit: Visit
) -> None:
    """All on the page where making an app leads; it goes over without being loaded again."""
    page = visit.page
    await join(page, asked)
    key = await new_app(page)
    await expect(page.locator("#state")).to_have_text("Live")
    await page.get_by_role("tab", name="Python").click()
    await expect(page.locator("#code-python")).to_contain_text(key)
    await expect(page.locator("#code-curl")).not_to_be_visible()
    await send(asked, key, {"event_name": "a", "event_parms": {}})
    await expect(page.locator(".entry.refused")).to_contain_text("unknown_field")
    await expect(page.locator("#first-note")).to_contain_text("refused")
    await send(asked, key, {"event_name": "first_visit", "event_params": {"page": "/home"}})
    await expect(page.locator("#events")).to_contain_text("first_visit")
    await expect(page.get_by_role("heading", name="Waiting")).to_have_count(0)
    await expect(page.locator("#said")).to_contain_text("first_visit")
    await expect(page.get_by_text("Filter", exact=True)).to_be_visible()


async def test_who_waits_for_long_is_told_what_to_look_at(asked: Asked, visit: Visit) -> None:
    """After twenty seconds without anything."""
    page = visit.page
    await join(page, asked)
    await new_app(page)
    await page.clock.install()
    await page.reload()
    await page.get_by_role("heading", name="Waiting for the first event").wait_for()
    help_ = page.get_by_role("heading", name="Nothing has come yet")
    await expect(help_).not_to_be_visible()
    await page.clock.fast_forward(20_000)
    await expect(help_).to_be_visible()
    await expect(page.locator("#help")).to_contain_text(f"{asked.server.url}/healthz")


async def test_event_opens_to_its_json_and_holds_the_page_still(
    asked: Asked, visit: Visit, apps: Apps
) -> None:
    """What comes meanwhile is counted, and shown when it goes on."""
    page = visit.page
    await join(page, asked)
    await page.goto(f"{asked.url}/apps/{apps['one']}/live")
    await expect(page.locator("#state")).to_have_text("Live")
    asked.send({"event_name": "opened", "event_params": {"deep": {"n": 1.50}}})
    await page.locator("summary", has_text="opened").first.click()
    await expect(page.locator("details[open] pre")).to_contain_text('"n": 1.5')
    await expect(page.locator("#state")).to_have_text("Paused")
    asked.send({"event_name": "meanwhile"})
    await expect(page.locator("#waiting")).to_have_text("Paused; 1 more has come.")
    await expect(page.locator("summary", has_text="meanwhile")).to_have_count(0)
    await page.get_by_role("button", name="Go on").click()
    await expect(page.locator("summary", has_text="meanwhile")).to_be_visible()
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("#state")).to_have_text("Paused")


async def test_filter_is_the_page_s_address(asked: Asked, visit: Visit, apps: Apps) -> None:
    """And what comes then is what it means."""
    page = visit.page
    await join(page, asked)
    asked.send({"event_name": "before"})  # where nothing ever came, what to do about it is shown
    await page.goto(f"{asked.url}/apps/{apps['one']}/live")
    await page.get_by_text("Filter", exact=True).click()
    await page.get_by_label("Filter by").fill("plan")
    await page.get_by_label("Value").fill("gold")
    await page.get_by_role("button", name="Add").click()
    await page.wait_for_url("**/live?where=params.plan%3Aeq%3Agold")
    await expect(page.locator("#state")).to_have_text("Live")
    asked.send(
        {"event_name": "meant", "event_params": {"plan": "gold"}}, {"event_name": "not_meant"}
    )
    await expect(page.locator("#events")).to_contain_text("meant")
    await expect(page.locator("#events")).not_to_contain_text("not_meant")


async def test_crowd_is_said_and_stays_said(asked: Asked, visit: Visit, apps: Apps) -> None:
    """How many of a second are not in the list stands in the list."""
    page = visit.page
    await join(page, asked)
    await page.goto(f"{asked.url}/apps/{apps['one']}/live?event=many")
    asked.send({"event_name": "many"})
    await expect(page.locator("summary", has_text="many")).to_have_count(1)
    asked.send(*({"event_name": "many"} for _ in range(50)))
    await expect(page.locator(".notice")).to_have_text("30 more came in this second")
    await expect(page.locator("summary", has_text="many")).to_have_count(21)


async def test_hidden_page_has_no_stream_and_says_what_it_missed(
    asked: Asked, visit: Visit, apps: Apps
) -> None:
    """As tabs that nobody looks at do; it begins again when it is seen."""
    page = visit.page
    await join(page, asked)
    await page.goto(f"{asked.url}/apps/{apps['one']}/live?event=hidden")
    await expect(page.locator("#state")).to_have_text("Live")
    await page.clock.install()
    await page.evaluate(SEEN, True)
    asked.send({"event_name": "hidden"})
    await page.clock.fast_forward(60_000)
    await expect(page.locator("#events li")).to_have_count(0)
    await page.evaluate(SEEN, False)
    await expect(page.locator(".notice")).to_contain_text("seconds are missing here")
    await expect(page.locator("summary", has_text="hidden")).to_have_count(1)


async def test_hostile_events_are_text_and_do_not_overflow(asked: Asked, eye: Eye) -> None:
    """Those that were there, and those that come; the page is readable before and behind."""
    page = eye.page
    await join(page, asked)
    key = await new_app(page)
    await eye.look()
    await send(asked, key, {"event_name": "a", HOSTILE + "\u202e": 1})
    await expect(page.locator(".entry.refused")).to_contain_text("<img")
    await eye.look()
    hostile = {HOSTILE: HOSTILE, "\u202edir": {"deep": [HOSTILE] * 3}, "__proto__": 1}
    await send(asked, key, {"event_name": HOSTILE[:200], "event_params": hostile})
    await page.locator("#events summary").first.click()
    await expect(page.locator("details[open] pre")).to_contain_text("\\u202edir")
    await eye.look()
    await page.reload()
    await page.locator("#events summary").first.click()
    await eye.look()
