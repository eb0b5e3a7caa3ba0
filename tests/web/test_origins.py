"""A page on another origin sends events: with a preflight, outliving its page, and as a beacon."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import StartServer
from tests.support.postgres import fetch
from tests.support.server import Server
from tests.web.served import example
from tests.web.visit import Visit

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

PAGE = b"<!DOCTYPE html><title>Another origin</title>"
SEND = """async ([url, headers, event]) => {
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(event) });
  return {
    status: response.status,
    answer: await response.json(),
    duplicate: response.headers.get('Nonito-Duplicate'),
    applied: response.headers.get('Preference-Applied'),
  };
}"""
HIDE = """() => {
  Object.defineProperty(document, 'visibilityState', { value: 'hidden' });
  document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
}"""


Send = Callable[..., Awaitable[Any]]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The address of a page on another origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as other:
        thread = Thread(target=other.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{other.server_port}/shop"
        other.shutdown()
        thread.join()


@pytest_asyncio.fixture(loop_scope="session")
async def send(visit: Visit, web_server: Server, elsewhere: str) -> Send:
    """Send an event from that page as its scripts would; returns what they can see."""
    await visit.page.goto(elsewhere)

    async def call(event: object, path: str = "/event", **headers: str) -> Any:  # noqa: ANN401
        usual = {"Content-Type": "application/json", "X-API-Key": web_server.key}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await visit.page.evaluate(SEND, [web_server.url + path, usual | named, event])

    return call


async def events(url: str, name: str) -> list[Any]:
    """Return the events of a name."""
    return await fetch(url, "SELECT * FROM events WHERE event_name = $1", name)


async def wait_for_event(url: str, name: str) -> Any:  # noqa: ANN401 - a row
    """Wait until there is one event of a name."""
    for _ in range(200):
        found = await events(url, name)
        if found:
            assert len(found) == 1
            return found[0]
        await asyncio.sleep(0.05)
    raise AssertionError(f"no event {name} came")


async def test_page_elsewhere_sends_an_event_and_reads_the_answer(send: Send, web_url: str) -> None:
    """The browser asks first (the key's header is not a simple one), then sends."""
    seen = await send({"event_name": "across"})
    assert seen["status"] == 200
    assert seen["answer"]["data"][0]["event_name"] == "across"
    assert len(await events(web_url, "across")) == 1


async def test_page_elsewhere_reads_why_it_was_refused(send: Send, visit: Visit) -> None:
    """Errors are readable too."""
    visit.statuses_expected = {401}
    seen = await send({"event_name": "across"}, X_API_Key="nk_wrong")
    assert seen["status"] == 401
    assert seen["answer"]["error"]["code"] == "invalid_api_key"


async def test_page_elsewhere_reads_that_it_has_the_wrong_path(send: Send, visit: Visit) -> None:
    """The browser asks for that path first, too, and would show the page nothing."""
    visit.statuses_expected = {404}
    seen = await send({"event_name": "across"}, "/evnts")
    assert (seen["status"], seen["answer"]["error"]["code"]) == (404, "not_found")


async def test_page_elsewhere_sends_whatever_headers_its_libraries_add(send: Send) -> None:
    """Tracing adds some to every request of a page; none of them may cost the event."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    seen = await send(
        {"event_name": "traced"},
        traceparent=f"00-{trace}-b7ad6b7169203331-01",
        baggage="a=b",
        sentry_trace=f"{trace}-b7ad6b7169203331",
        X_Whatever="a",
    )
    assert seen["status"] == 200


async def test_page_elsewhere_may_use_every_header_of_the_contract(send: Send) -> None:
    """And reads those of the answer."""
    seen = await send({"event_name": "soon"}, Prefer="respond-async")
    assert (seen["status"], seen["applied"]) == (202, "respond-async")
    keyed = {"Idempotency_Key": "a page's own"}
    first = await send({"event_name": "keyed"}, **keyed)
    second = await send({"event_name": "keyed"}, **keyed)
    assert (first["duplicate"], second["duplicate"]) == (None, "true")
    assert first["answer"] == second["answer"]


async def test_page_elsewhere_sends_a_batch(send: Send, web_url: str) -> None:
    """To /events."""
    seen = await send([{"event_name": "bundled"}], "/events", Prefer="return=minimal")
    assert (seen["status"], seen["answer"]) == (200, {"status": "success", "count": 1})
    assert len(await events(web_url, "bundled")) == 1


async def test_event_outlives_the_page_that_sent_it(
    visit: Visit, web_server: Server, web_url: str, elsewhere: str
) -> None:
    """The page's example with keepalive, run while its page goes away."""
    await visit.page.goto(elsewhere)
    code = example(web_server, "keepalive")
    await visit.page.evaluate(f"addEventListener('pagehide', () => {{ {code} }})")
    await visit.page.goto("about:blank")
    row = await wait_for_event(web_url, "page_leave")
    assert row["event_params"] == '{"page": "/shop"}'


async def test_beacon_is_stored(
    visit: Visit, web_server: Server, web_url: str, elsewhere: str
) -> None:
    """The page's example with sendBeacon, when its page is hidden."""
    await visit.page.goto(elsewhere)
    await visit.page.evaluate(f"() => {{ {example(web_server, 'beacon')} }}")
    await visit.page.evaluate(HIDE)
    await wait_for_event(web_url, "page_hide")


async def test_beacon_outlives_its_page(
    visit: Visit, web_server: Server, web_url: str, elsewhere: str
) -> None:
    """Sent while its page goes away."""
    await visit.page.goto(elsewhere)
    code = example(web_server, "beacon").replace("page_hide", "page_gone")
    await visit.page.evaluate(f"() => {{ {code} }}")
    await visit.page.goto("about:blank")  # hides it first
    await wait_for_event(web_url, "page_gone")


async def test_beacon_is_refused_where_the_operator_does_not_allow_it(
    visit: Visit, web_server: Server, start_server: StartServer, elsewhere: str, web_url: str
) -> None:
    """By default a key in the address is none; nothing is stored."""
    server = start_server(web_url, key=web_server.key)
    visit.statuses_expected = {401}
    await visit.page.goto(elsewhere)
    code = example(server, "beacon").replace("page_hide", "page_denied")
    await visit.page.evaluate(f"() => {{ {code} }}")
    async with visit.page.expect_event("requestfinished") as beacon:
        await visit.page.evaluate(HIDE)
    answer = await (await beacon.value).response()
    assert answer is not None
    assert answer.status == 401
    assert await events(web_url, "page_denied") == []
