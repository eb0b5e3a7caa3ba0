"""The form that sends an event from the documentation page."""

import json
from typing import Any

import pytest
from playwright.async_api import Route

from tests.support.postgres import fetch
from tests.support.server import Server
from tests.web.visit import Visit, try_it

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

DIGITS = '{"big": 123456789012345678901234567890, "small": 0.1234567890123456789}'


async def stored(url: str, name: str) -> list[Any]:
    """Return the parameters of the events of a name, as text."""
    sql = "SELECT event_params::text AS params FROM events WHERE event_name = $1"
    return [row["params"] for row in await fetch(url, sql, name)]


async def test_form_stores_an_event(web_server: Server, web_url: str, visit: Visit) -> None:
    """And shows the status, the time it took, and the row; every digit arrives."""
    await visit.page.goto(web_server.url)
    shown = await try_it(visit.page, web_server.key, "tried", DIGITS)
    assert shown.startswith("200 OK in ")
    assert "Content-Type: application/json" in shown
    row = json.loads(shown[shown.index("{") :])["data"][0]
    assert row["event_name"] == "tried"
    assert "123456789012345678901234567890" in shown
    assert "0.1234567890123456789" in shown
    assert '\n      "id": "' in shown
    assert await stored(web_url, "tried") == [DIGITS]


async def test_form_without_parameters_stores_none(
    web_server: Server, web_url: str, visit: Visit
) -> None:
    """An empty field is no field; a key's surrounding spaces are no part of it."""
    await visit.page.goto(web_server.url)
    shown = await try_it(visit.page, f"  {web_server.key}\n", "bare", "")
    assert shown.startswith("200 OK")
    assert await stored(web_url, "bare") == ["{}"]


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [("nk_wrong", "401 Unauthorized", "invalid_api_key"), ("", "401", "missing_api_key")],
)
async def test_form_shows_the_server_s_refusal(
    web_server: Server, visit: Visit, key: str, status: str, code: str
) -> None:
    """Its status, its message, its code."""
    visit.statuses_expected = {401}
    await visit.page.goto(web_server.url)
    shown = await try_it(visit.page, key, "a", "{}")
    assert shown.startswith(status)
    assert "API key" in shown.splitlines()[0]
    assert f'"code": "{code}"' in shown


@pytest.mark.parametrize(
    ("key", "params", "reason"),
    [
        ("nk_a", "{", "The parameters are not JSON"),
        ("nk_a", '{"a": 1} x', "The parameters are not JSON"),
        ("nk_ä", "{}", "characters that no key has"),
    ],
)
async def test_form_says_what_is_wrong_without_sending_it(
    web_server: Server, visit: Visit, key: str, params: str, reason: str
) -> None:
    """Nothing leaves the page."""
    await visit.page.goto(web_server.url)
    shown = await try_it(visit.page, key, "a", params)
    assert shown.startswith("Not sent")
    assert reason in shown
    assert f"{web_server.url}/event" not in visit.requests


async def test_form_says_that_the_server_is_away(web_server: Server, visit: Visit) -> None:
    """In words, when there is no answer at all."""
    await visit.page.goto(web_server.url)
    await visit.page.context.set_offline(True)
    shown = await try_it(visit.page, web_server.key, "a", "{}")
    assert shown.startswith("No answer")
    assert "be reached. Is it running, and is the network up?" in shown
    visit.complaints = [text for text in visit.complaints if "ERR_INTERNET" not in text]


async def test_form_shows_an_answer_that_is_not_json(web_server: Server, visit: Visit) -> None:
    """A proxy's page is shown as text, and none of it becomes part of this one."""

    async def answer(route: Route) -> None:
        await route.fulfill(status=502, content_type="text/html", body="<b id=evil>Bad</b>")

    visit.statuses_expected = {502}
    await visit.page.goto(web_server.url)
    await visit.page.route("**/event", answer)
    shown = await try_it(visit.page, web_server.key, "a", "{}")
    assert "502 Bad Gateway" in shown
    assert "not JSON" in shown
    assert "<b id=evil>Bad</b>" in shown
    assert await visit.page.locator("#evil").count() == 0


async def test_key_is_kept_nowhere(web_server: Server, visit: Visit) -> None:
    """Not in storage, cookies, the address, nor after a reload."""
    await visit.page.goto(web_server.url)
    await try_it(visit.page, web_server.key, "kept", "{}")
    state = await visit.page.context.storage_state(indexed_db=True)
    assert state == {"cookies": [], "origins": []}
    assert await visit.page.evaluate("sessionStorage.length") == 0
    assert web_server.key not in visit.page.url
    await visit.page.reload()
    assert await visit.page.get_by_label("API key").input_value() == ""
