"""axe-core: what a page has that somebody can't use, or can't read."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Page

_SOURCE: Final = Path(__file__).parents[1] / "node/node_modules/axe-core/axe.min.js"
_RUN: Final = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  if (!found.passes.length) throw new Error("axe has looked at nothing");
  return found.violations.map((each) => ({
    rule: each.id, impact: each.impact, help: each.help,
    places: each.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)),
  }));
}"""


@cache
def _source() -> str:
    if not _SOURCE.exists():
        pytest.skip("npm ci --prefix tests/node installs axe-core, which this needs")
    return _SOURCE.read_text(encoding="utf-8")


async def violations(page: Page) -> list[dict[str, Any]]:
    """Return what it finds on a page, whatever its impact."""
    # By the debugger, as a page's policy lets in no script but the server's.
    await page.evaluate(_source())
    found: list[dict[str, Any]] = await page.evaluate(_RUN)
    return found
