"""Every screen, light and dark, small and wide, full of hostile text: nothing runs or overflows."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, ViewportSize

from tests.api.asked import Asked
from tests.dashboard import screens
from tests.dashboard.conftest import Apps
from tests.dashboard.eye import PHONE, WIDE, Eye, opened
from tests.dashboard.test_browser import join

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

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


async def faults_of(eye: Eye) -> list[object]:
    """Return what is wrong with a page, and what moved once it was there."""
    faults, (shift, moved) = await eye.faults(), await eye.page.evaluate(SHIFTS)
    return faults + [f"moved: {each}" for each in moved if shift > SHIFT_MAX]


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
    async with opened(browser, (scheme, window)) as eye:
        page, faults = eye.page, dict[str, object]()
        await page.goto(f"{asked.url}/sign-in")
        faults["sign-in"] = await faults_of(eye)
        await join(page, asked)
        for name, path in addresses.items():
            answer = await page.goto(f"{asked.url}{path}")
            assert answer is not None
            assert answer.status == 200, name
            faults[name] = await faults_of(eye)
            if SHOTS:
                file = f"{name.replace(' ', '-')}-{scheme}-{window['width']}.png"
                await page.screenshot(path=Path(SHOTS) / file, full_page=True)
        assert {name: found for name, found in faults.items() if found} == {}
