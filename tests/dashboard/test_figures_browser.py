"""Trends, funnels, retention and boards in a real browser."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.api.asked import Asked
from tests.dashboard.conftest import Apps
from tests.dashboard.eye import PHONE, WIDE, Eye
from tests.dashboard.test_browser import NUMBERS, join
from tests.support.looks import overflow_px
from tests.web.visit import Visit

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}'\"</script>" + "w" * 80
BIDI = "\u202egnp.exe\x07"
SHIFT_MAX = 0.1
PAGE_BYTES_MAX = 150_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(asked: Asked, apps: Apps) -> AsyncIterator[str]:
    """Where pages of an app begin, whose names and values are hostile."""
    await asyncio.to_thread(
        asked.send,
        *(
            {
                "event_name": name,
                "event_params": {"user_id": f"u{n % 9}", "plan": (HOSTILE, BIDI, "pro")[n % 3]},
                "timestamp": f"2026-03-{1 + n % 20:02}T{10 + step}:00:00Z",
            }
            for n in range(60)
            for step, name in enumerate(("view", HOSTILE[:100], "buy"))
            if n % (step + 1) == 0
        ),
    )
    yield f"{asked.url}/apps/{apps['one']}"


def query(**parameters: Any) -> str:  # noqa: ANN401 - texts, and lists of them
    """Return a query about March."""
    return urlencode({"from": "2026-03-01", "to": "2026-03-21", **parameters}, doseq=True)


def screens() -> dict[str, str]:
    """Return what is looked at."""
    hostile = HOSTILE[:100]
    return {
        "trends": query(event=["view", hostile], breakdown="params.plan", compare="previous"),
        "funnels": query(step=["view", hostile, "buy"], breakdown="params.plan"),
        "retention": query(first=hostile, where=f"params.plan:ne:{HOSTILE}"),
    }


async def save(page: Page, name: str, board: str) -> None:
    """Save what a page asks."""
    if not await page.get_by_label("Its name there").is_visible():
        await page.get_by_text("Save to a board").click()
    await page.get_by_label("Its name there").fill(name)
    if await (choice := page.locator("select[name=board]")).count():
        await choice.select_option("")
    await page.locator("[name=new_board]").fill(board)
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("heading", level=1)).to_be_visible()


async def look(eye: Eye) -> None:
    """Open all that opens, and look."""
    for each in await eye.page.locator("details").all():
        await each.evaluate("each => { each.open = true; }")
    await eye.look()


async def test_hostile_names_are_seen_and_do_nothing(asked: Asked, shop: str, eye: Eye) -> None:
    """On each chart, its tile, the people behind it, and the list of boards."""
    page = eye.page
    await join(page, asked)
    for view, asking in screens().items():
        await page.goto(f"{shop}/{view}?{asking}")
        await expect(page.locator(".answer section").first).to_be_visible()
        await look(eye)
        links = page.locator("main a[href*='/people?']")
        behind = await links.first.get_attribute("href") if await links.count() else None
        await save(page, HOSTILE[:100], f"{HOSTILE[:80]}{next(NUMBERS)}")
        await expect(page.locator("article.tile")).to_be_visible()
        await look(eye)
        if behind is not None:
            await page.goto(f"{asked.url}{behind}")
            await expect(page.locator(".answer table")).to_be_visible()
            await look(eye)
    await page.goto(f"{shop}/boards")
    await look(eye)


async def test_chart_is_drawn_from_its_table(asked: Asked, shop: str, visit: Visit) -> None:
    """What it says of a point is what the table says of the bucket, as text."""
    page = visit.page
    await join(page, asked)
    await page.goto(f"{shop}/trends?{query(event=['view', HOSTILE[:100]])}")
    plot = page.locator(".plot")
    await expect(plot.locator("canvas")).to_be_visible()
    assert await plot.get_attribute("aria-hidden") == "true"
    rows = page.locator("table tbody tr")
    first = await rows.nth(0).locator("th").text_content()
    over = await plot.locator(".u-over").bounding_box()
    assert first is not None
    assert over is not None
    await page.mouse.move(over["x"] + 2, over["y"] + 40)
    tip = page.locator(".tip")
    await expect(tip).to_contain_text(first)
    await expect(tip).to_contain_text(HOSTILE[:30])
    figure = await rows.nth(0).locator("td").nth(0).text_content()
    assert await tip.locator("span b").nth(0).text_content() == figure
    await page.get_by_label(re.compile("Draw <img")).uncheck()
    await page.mouse.move(over["x"] + 3, over["y"] + 41)
    await expect(tip).not_to_contain_text(HOSTILE[:30])


async def test_chart_follows_the_window_and_the_scheme(
    asked: Asked, shop: str, browser: Browser
) -> None:
    """It is drawn anew, in the colours of the other scheme."""
    async with await browser.new_context(color_scheme="light", viewport=WIDE) as context:
        page = await context.new_page()
        await join(page, asked)
        await page.goto(f"{shop}/trends?{query(event='view')}")
        canvas = page.locator(".plot canvas")
        await expect(canvas).to_be_visible()
        light = await canvas.evaluate("each => each.toDataURL()")
        await page.emulate_media(color_scheme="dark")
        await page.wait_for_function(
            "light => document.querySelector('.plot canvas').toDataURL() !== light", arg=light
        )
        wide = await canvas.evaluate("each => each.clientWidth")
        await page.set_viewport_size(PHONE)
        await page.wait_for_function(
            "wide => document.querySelector('.plot canvas').clientWidth < wide", arg=wide
        )
        assert await overflow_px(page) <= 0


async def test_nothing_moves_once_it_is_there(asked: Asked, shop: str, visit: Visit) -> None:
    """As the browser itself measures it, of all that comes in after the first paint."""
    page = visit.page
    await join(page, asked)
    for path in (f"trends?{query(event=['view', 'buy'])}", "trends?interval=hour&last=7d"):
        await page.goto(f"{shop}/{path}")
        await expect(page.locator(".plot canvas")).to_be_visible()
        shift = await page.evaluate(
            """() => new Promise((tell) => {
              new PerformanceObserver((list) => tell(list.getEntries()
                .reduce((sum, entry) => sum + entry.value, 0)))
                .observe({ type: "layout-shift", buffered: true });
              setTimeout(() => tell(0), 300);
            })"""
        )
        assert shift <= SHIFT_MAX, path


async def test_keyboard_alone_makes_a_funnel(asked: Asked, shop: str, visit: Visit) -> None:
    """From the empty page: names, Tab between them, Enter."""
    page = visit.page
    await join(page, asked)
    await page.goto(f"{shop}/funnels?{query()}")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Step 1", exact=True)).to_be_focused()
    await page.keyboard.type("view")
    await page.keyboard.press("Tab")
    await page.keyboard.type("buy")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("got to the end")).to_be_visible()
    assert "step=view&step=buy" in page.url
    await page.get_by_label("Move step 2 up").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Step 1", exact=True)).to_have_value("buy")


async def test_everything_works_without_a_script(asked: Asked, shop: str, browser: Browser) -> None:
    """Tables are there, boards too, in their order; an empty room for a chart is not."""
    async with await browser.new_context(java_script_enabled=False) as context:
        page = await context.new_page()
        await join(page, asked)
        await page.goto(f"{shop}/trends?{query()}")
        await page.get_by_label("Event 1").fill("view")
        await page.get_by_role("button", name="Show").first.click()
        await expect(page.locator(".plot")).not_to_be_visible()
        await page.get_by_text("Table", exact=True).click()
        await expect(page.locator("table tbody tr")).to_have_count(20)
        for name in ("first", "second"):
            await page.goto(f"{shop}/trends?{query(event='view')}")
            await save(page, name, f"Without a script, {name}")
        await expect(page.get_by_role("heading", name="second", exact=True)).to_be_visible()


async def test_pages_are_light_and_ask_nobody_else(asked: Asked, shop: str, visit: Visit) -> None:
    """With all that they load, as it is sent compressed."""
    page, sizes = visit.page, list[int]()
    await join(page, asked)
    answers = list[Any]()
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - no builtin
    await page.goto(f"{shop}/trends?interval=hour&last=30d&event=view")
    await expect(page.locator(".plot canvas")).to_be_visible()
    sizes = [(await each.request.sizes())["responseBodySize"] for each in answers]
    assert 0 < sum(sizes) < PAGE_BYTES_MAX, dict(zip((a.url for a in answers), sizes, strict=True))
    assert {url.split("/")[2] for url in visit.requests} == {asked.url.split("/")[2]}
