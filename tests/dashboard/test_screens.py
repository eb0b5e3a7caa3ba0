"""Every screen, light and dark, small and wide, full of hostile text: nothing runs or overflows."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page, ViewportSize

from tests.api.asked import Asked
from tests.dashboard import screens
from tests.dashboard.conftest import Apps
from tests.dashboard.test_browser import PHONE, WIDE, join
from tests.support.axe import violations
from tests.support.looks import CONTRAST_MIN, CONTRASTS, overflow_px
from tests.web.visit import Visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOTS: Final = os.environ.get("SCREENSHOTS")
"""A directory for a picture of each screen, for whoever wants to look at them."""
SHIFT_MAX = 0.01
"""Of the window: a long table's columns find their widths while it is read."""
SHIFTS: Final = """() => new Promise((done) => {
  const moved = [];
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries().filter((each) => !each.hadRecentInput)) {
      sum += entry.value;
      moved.push(...entry.sources.map(({ node }) => (node?.outerHTML ?? "text").slice(0, 100)));
    }
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done([sum, moved]), 100);
})"""


@pytest.fixture(scope="module")
def addresses(asked: Asked, apps: Apps) -> Mapping[str, str]:
    """Where every screen is."""
    event_id = screens.furnish(asked)
    return {**screens.of_app(apps["one"], event_id), **screens.OF_THE_SERVER}


async def faults_of(page: Page) -> list[object]:
    """Return what is wrong with how a page looks, and what somebody could not use."""
    contrasts = await page.evaluate(CONTRASTS)
    wide_px, (shift, moved) = await overflow_px(page), await page.evaluate(SHIFTS)
    return [
        *([f"{wide_px} px too wide"] if wide_px > 0 else []),
        *(f"moved: {each}" for each in moved if shift > SHIFT_MAX),
        *(each for each in contrasts if each[1] < CONTRAST_MIN),
        *await violations(page),
    ]


@pytest.mark.parametrize("window", [PHONE, WIDE], ids=["phone", "wide"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_screens_are_readable_and_run_nothing(
    asked: Asked,
    addresses: Mapping[str, str],
    browser: Browser,
    scheme: Any,  # noqa: ANN401 - a literal
    window: ViewportSize,
) -> None:
    """Nothing complains, of a policy neither; nothing moves; nobody else's server is asked."""
    async with await browser.new_context(color_scheme=scheme, viewport=window) as context:
        visit = Visit(await context.new_page())
        page, dialogs, faults = visit.page, list[object](), dict[str, object]()
        page.on("dialog", lambda dialog: dialogs.append(dialog))  # noqa: PLW0108 - no builtin
        await page.goto(f"{asked.url}/sign-in")
        if found := await faults_of(page):
            faults["sign-in"] = found
        await join(page, asked)
        for name, path in addresses.items():
            answer = await page.goto(f"{asked.url}{path}")
            assert answer is not None
            assert answer.status == 200, name
            if found := await faults_of(page):
                faults[name] = found
            assert await page.locator("img").count() == 0, name
            if SHOTS:
                file = f"{name.replace(' ', '-')}-{scheme}-{window['width']}.png"
                await page.screenshot(path=Path(SHOTS) / file, full_page=True)
        assert faults == {}
        assert (visit.complaints, dialogs) == ([], [])
        assert {url.split("/")[2] for url in visit.requests} == {asked.url.split("/")[2]}
