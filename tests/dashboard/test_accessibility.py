"""Every screen as somebody uses it who sees, hears or points otherwise: axe finds nothing."""

from typing import Any

import pytest
from playwright.async_api import Browser

from ingest.dashboard.site import ROUTES
from tests.api.asked import Asked
from tests.dashboard.conftest import Apps
from tests.dashboard.test_browser import PHONE, WIDE, join
from tests.support.axe import violations

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCREENS = sorted(
    route.path
    for route in ROUTES
    if route.method == "GET"
    and route.path.count("{") < 2
    and not route.path.endswith(("/export", "/stream"))
)


@pytest.mark.parametrize(("scheme", "window"), [("light", WIDE), ("dark", PHONE)])
async def test_axe_finds_nothing_on_any_screen(
    asked: Asked,
    apps: Apps,
    browser: Browser,
    scheme: Any,  # noqa: ANN401 - a literal
    window: Any,  # noqa: ANN401 - a literal too
) -> None:
    """Nothing serious, and nothing else."""
    async with await browser.new_context(color_scheme=scheme, viewport=window) as context:
        page = await context.new_page()
        await page.goto(f"{asked.url}/sign-in")
        found = {"sign-in": await violations(page)}
        await join(page, asked)
        for path in SCREENS:
            if "{token}" not in path:
                await page.goto(f"{asked.url}{path.replace('{app}', str(apps['one']))}")
                found[path] = await violations(page)
    assert {path: each for path, each in found.items() if each} == {}
