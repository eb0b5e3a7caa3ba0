"""The documentation page in a real browser."""

from typing import Any

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.support.looks import CONTRAST_MIN, CONTRASTS, overflow_px
from tests.support.server import Server
from tests.web.served import served_page
from tests.web.visit import Visit, try_it

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

PHONE: ViewportSize = {"width": 390, "height": 844}
WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROWEST: ViewportSize = {"width": 320, "height": 640}
IN_TABS = {"cURL": "curl", "JavaScript": "javascript", "Python": "python", "Swift": "swift"}
SDKS = ["Segment", "RudderStack", "PostHog", "Amplitude", "OpenPanel", "Umami", "CloudEvents"]
OF_SDKS = {name: name.lower() for name in SDKS}


async def shown_example(page: Page) -> str | None:
    """Return the name of the one code example in the tabs that is visible."""
    names = await page.locator("#examples .tabs code:visible").evaluate_all(
        "all => all.map(one => one.dataset.example)"
    )
    assert len(names) == 1
    return str(names[0])


async def test_page_asks_nobody_but_its_own_server(web_server: Server, visit: Visit) -> None:
    """For the page, its style, script and icon; nothing of its policy is breached."""
    await visit.page.goto(web_server.url, wait_until="networkidle")
    assert len(visit.requests) >= 3
    assert [url for url in visit.requests if not url.startswith(f"{web_server.url}/")] == []


async def test_policy_stops_what_is_not_the_page_s_own(web_server: Server, visit: Visit) -> None:
    """A script that got into the page would not run, nor reach anybody."""
    await visit.page.goto(web_server.url)
    await visit.page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.textContent = 'window.intruded = true';
          document.body.append(script);
        }"""
    )
    assert await visit.page.evaluate("window.intruded") is None
    refused = await visit.page.evaluate("fetch('https://example.com').then(() => 0, () => 1)")
    assert refused == 1
    assert len(visit.complaints) >= 2
    assert all("Content Security Policy" in text for text in visit.complaints)
    visit.complaints.clear()


async def test_tabs_follow_the_mouse(web_server: Server, visit: Visit) -> None:
    """One example is shown, the one that was chosen last."""
    await visit.page.goto(web_server.url)
    assert await shown_example(visit.page) == "curl"
    for title, name in IN_TABS.items():
        await visit.page.get_by_role("tab", name=title).click()
        assert await shown_example(visit.page) == name
        tabs = visit.page.locator("#examples .tabs")
        await expect(tabs.get_by_role("tab", selected=True)).to_have_text(title)
        await expect(tabs.get_by_role("tabpanel")).to_have_count(1)


async def test_tabs_follow_the_keyboard(web_server: Server, visit: Visit) -> None:
    """Arrows go round, Home and End to the ends; one tab is in the order of focus."""
    await visit.page.goto(web_server.url)
    await visit.page.get_by_role("tab", name="cURL").focus()
    steps = {
        "ArrowRight": "javascript",
        "End": "swift",
        "ArrowRight ": "curl",
        "ArrowLeft": "swift",
        "Home": "curl",
    }
    for key, name in steps.items():
        await visit.page.keyboard.press(key.strip())
        assert await shown_example(visit.page) == name
        await expect(visit.page.locator(":focus")).to_have_attribute("aria-selected", "true")
    assert await visit.page.locator('#examples [role="tab"][tabindex="0"]').count() == 1
    await visit.page.keyboard.press("Tab")
    await expect(visit.page.locator(":focus")).to_have_text("Copy")


async def test_link_to_an_example_opens_its_tab(web_server: Server, visit: Visit) -> None:
    """So that a colleague sees what was meant."""
    await visit.page.goto(f"{web_server.url}/#example-python")
    assert await shown_example(visit.page) == "python"


async def test_copy_button_copies_the_code_to_the_letter(web_server: Server, visit: Visit) -> None:
    """Every example, as the page has it."""
    await visit.page.goto(web_server.url)
    examples = served_page(web_server).examples
    titles = {name: title for title, name in (IN_TABS | OF_SDKS).items()}
    for name, code in examples.items():
        title = titles.get(name)
        if title is not None:
            await visit.page.get_by_role("tab", name=title).click()
        figure = visit.page.locator("figure", has=visit.page.locator(f"[data-example={name}]"))
        await figure.get_by_role("button").click()
        await expect(figure.get_by_role("button")).to_have_text("Copied")
        assert await visit.page.evaluate("navigator.clipboard.readText()") == code, name


async def test_copy_button_works_without_https(web_server: Server, visit: Visit) -> None:
    """Where browsers have no navigator.clipboard."""
    await visit.page.goto(web_server.url)
    await visit.page.evaluate(
        """() => {
          window.own = navigator.clipboard;
          Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true });
        }"""
    )
    figure = visit.page.locator("#try-it figure").first
    await figure.get_by_role("button").click()
    await expect(figure.get_by_role("button")).to_have_text("Copied")
    copied = await visit.page.evaluate("window.own.readText()")
    assert copied == served_page(web_server).examples["first-event"]


async def test_everything_is_readable_without_javascript(
    web_server: Server, browser: Browser
) -> None:
    """Every example is visible, with a heading; the form, which can't work, is not there."""
    async with await browser.new_context(java_script_enabled=False) as context:
        page = await context.new_page()
        await page.goto(web_server.url)
        for name in served_page(web_server).examples:
            await expect(page.locator(f"[data-example={name}]")).to_be_visible()
        for title in IN_TABS:
            await expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        await expect(page.locator("#try-form")).to_be_hidden()
        await expect(page.get_by_text("With JavaScript this page can")).to_be_visible()
        assert await page.locator("button:visible").count() == 0


@pytest.mark.parametrize("size", [NARROWEST, PHONE, WIDE], ids=["320", "390", "1280"])
@pytest.mark.parametrize("is_scripted", [True, False], ids=["scripted", "plain"])
async def test_page_never_scrolls_sideways(
    web_server: Server,
    browser: Browser,
    size: ViewportSize,
    is_scripted: bool,  # noqa: FBT001 - a case
) -> None:
    """Nothing but code and the table of contents is wider than the window."""
    async with await browser.new_context(viewport=size, java_script_enabled=is_scripted) as context:
        page = await context.new_page()
        await page.goto(web_server.url)
        assert await overflow_px(page) == 0
        if is_scripted:
            await try_it(page, "nk_" + "x" * 43, "a" * 80, '{"long": "' + "x" * 400 + '"}')
            assert await overflow_px(page) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_contrast_in_both_colour_schemes(
    web_server: Server,
    browser: Browser,
    scheme: Any,  # noqa: ANN401 - a literal
) -> None:
    """At least 4.5:1 (AA), for every visible text; and the schemes differ."""
    async with await browser.new_context(color_scheme=scheme, reduced_motion="reduce") as context:
        page = await context.new_page()
        await page.goto(web_server.url)
        await try_it(page, "nk_wrong", "a", "{}")
        contrasts = await page.evaluate(CONTRASTS)
        assert len(contrasts) > 200
        assert [text for text in contrasts if text[1] < CONTRAST_MIN] == []
        paper = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (paper == "rgb(253, 253, 252)") is (scheme == "light")


async def test_keyboard_reaches_the_content_first(web_server: Server, visit: Visit) -> None:
    """The first stop is the link that skips the table of contents."""
    await visit.page.goto(web_server.url)
    await visit.page.keyboard.press("Tab")
    skip = visit.page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.locator("main")).to_be_focused()


async def test_everything_that_can_be_used_has_a_name(web_server: Server, visit: Visit) -> None:
    """Links, buttons, fields and tabs say what they are to those who don't see them."""
    await visit.page.goto(web_server.url)
    tree = await visit.page.locator("body").aria_snapshot()
    kinds = ("link", "button", "textbox", "tab", "tabpanel", "navigation")
    lines = [line.strip().removeprefix("- ") for line in tree.splitlines()]
    used = [line for line in lines if line.split(" ")[0].rstrip(":") in kinds]
    assert len(used) > 40
    assert [line for line in used if '"' not in line] == []


async def test_contents_show_where_the_reader_is(web_server: Server, visit: Visit) -> None:
    """The entry of the section at hand, and of the last one at the end."""
    await visit.page.emulate_media(reduced_motion="reduce")
    await visit.page.goto(web_server.url)
    current = visit.page.locator(".contents [aria-current]")
    await expect(current).to_have_text("Overview")
    await visit.page.locator(".contents").get_by_role("link", name="Batches").click()
    await expect(current).to_have_text("Batches")
    await visit.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    await expect(current).to_have_text("Common events")


async def test_motion_is_left_out_for_those_who_asked(web_server: Server, visit: Visit) -> None:
    """No smooth scrolling, no transitions."""
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    for wish, found in (("reduce", "auto"), ("no-preference", "smooth")):
        await visit.page.emulate_media(reduced_motion=wish)  # type: ignore[arg-type]
        await visit.page.goto(web_server.url)
        assert await visit.page.evaluate(behaviour) == found
