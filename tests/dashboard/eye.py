"""Somebody who looks at pages: in one scheme, in one size of a window, with one profile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize

from tests.support.axe import violations
from tests.support.looks import CONTRAST_MIN, CONTRASTS, overflow_px
from tests.web.visit import Visit

PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
WIDE: Final[ViewportSize] = {"width": 1280, "height": 900}
Look = tuple[Literal["light", "dark"], ViewportSize]
LOOKS: Final[dict[str, Look]] = {"light phone": ("light", PHONE), "dark wide": ("dark", WIDE)}
"""Each scheme and each size once; `test_screens.py` has them all."""
TURNED: Final = "\u202e"
"""Turns what is behind it around; shown, it must be told from what it does."""


class Eye:
    """A page, and what is wrong with how it looks."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.visit = Visit(page)
        self.dialogs: list[object] = []
        page.on("dialog", lambda dialog: self.dialogs.append(dialog))  # noqa: PLW0108 - no builtin

    async def faults(self) -> list[object]:
        """Return what somebody could not read or use, and what should not be there."""
        contrasts = await self.page.evaluate(CONTRASTS)
        wide_px = await overflow_px(self.page)
        return [
            *([f"{wide_px} px too wide"] if wide_px > 0 else []),
            *(each for each in contrasts if each[1] < CONTRAST_MIN),
            *["an image"] * await self.page.locator("img").count(),
            *["text turned around"] * (TURNED in await self.page.inner_text("body")),
            *await violations(self.page),
        ]

    async def look(self) -> None:
        """Assert that nothing is wrong."""
        assert (self.page.url, await self.faults()) == (self.page.url, [])

    def check(self) -> None:
        """Assert that the browser had nothing to say, no script ran, and one host was asked."""
        assert (self.visit.complaints, self.dialogs) == ([], [])
        assert len({url.split("/")[2] for url in self.visit.requests}) == 1


@asynccontextmanager
async def opened(browser: Browser, look: Look) -> AsyncIterator[Eye]:
    """Open one with a profile of its own; afterwards nothing may have gone wrong."""
    scheme, window = look
    async with await browser.new_context(color_scheme=scheme, viewport=window) as context:
        eye = Eye(context, await context.new_page())
        yield eye
        eye.check()
