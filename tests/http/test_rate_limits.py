"""Limits by app and key: by every way in, the same rule; told so that clients send again."""

import asyncio
import gzip
import json
import re
from collections.abc import Callable, Iterator

import pytest
import requests

from ingest.http.head import parse
from ingest.store.cluster import Cluster
from ingest.store.keyring import Keyring
from tests.conftest import make_key
from tests.http import batches
from tests.http.cases import EVENT, KEY, post
from tests.http.checks import assert_open_to_browsers, assert_refusal, assert_success
from tests.http.ways_in import OURS, send_event
from tests.sdks.recorded import recorded
from tests.support.limited import limit_app, limit_key
from tests.support.postgres import make_postgres, new_database
from tests.support.raw import RawClient, connected
from tests.support.server import LANES, Server, running_server, wait_for

TIMEOUT_S = 30
APPS: list[str] = []
"""Those that were made; none is used twice."""
MakeLimited = Callable[..., str]


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """A database for both servers."""
    with new_database(cluster) as made:
        yield made


@pytest.fixture(scope="module", params=LANES)
def server(request: pytest.FixtureRequest, url: str) -> Iterator[Server]:
    """A server with the fast lane, and then one without; both take keys in the query."""
    settings = {"server.fast_lane": request.param, "server.key_in_query": "true"}
    with running_server(("--database-url", url), make_key(url), settings) as running:
        yield running


@pytest.fixture
def limited(server: Server, url: str) -> MakeLimited:
    """Makes an app with limits and a key of it that the server knows."""

    def make(*, of_key: bool = False, **limits: int) -> str:
        app = f"app {len(APPS)}"
        APPS.append(app)
        key = make_key(url, app)
        limit_app(url, app, **({} if of_key else limits))
        if of_key:
            limit_key(url, key, **limits)
        follow(server, url)
        return key

    return make


def follow(server: Server, url: str) -> None:
    """Wait until a server has read all that was changed up to now: it knows a key made after it."""
    key = make_key(url, "known last")
    headers = {"X-API-Key": key, "Content-Type": "text/x"}
    address = f"{server.url}/events"
    wait_for(lambda: requests.post(address, headers=headers, timeout=20).status_code == 415)


def keyed(key: str, *headers: str, body: bytes = EVENT) -> bytes:
    """Return an event's request with a key."""
    return post(*map(str.encode, headers), body=body).replace(KEY, key.encode())


def statuses(client: RawClient, key: str, times: int, *headers: str) -> list[int]:
    """Send an event some times over a connection."""
    return [client.ask(keyed(key, *headers)).status for _ in range(times)]


@pytest.mark.parametrize("of_key", [False, True])
def test_event_beyond_the_limit_is_a_429_and_the_connection_goes_on(
    server: Server, limited: MakeLimited, *, of_key: bool
) -> None:
    """Whose limit it is, is told in words, and when to send again in headers."""
    key = limited(of_key=of_key, events_per_day=3)
    with connected(server.port) as client:
        assert statuses(client, key, 3) == [200] * 3
        answer = client.ask(keyed(key))
        told = assert_refusal(answer, 429, "too_many_requests")
        assert told.startswith(f"This {'API key' if of_key else 'app'} may send 3 events a day;")
        assert_open_to_browsers(answer)
        reset_s = int(answer.headers["ratelimit-reset"])
        assert 60 < reset_s <= 86_400
        assert answer.headers["retry-after"] == str(reset_s)
        assert answer.headers["ratelimit-limit"] == "3"
        assert answer.headers["ratelimit-remaining"] == "0"
        assert statuses(client, key, 2) == [429] * 2
        assert_success(client.ask(keyed(server.key)))


def test_limits_of_key_and_app_both_hold(server: Server, url: str, limited: MakeLimited) -> None:
    """The app's is of all its keys together, and takes nothing for what its key refuses."""
    first = limited(events_per_day=5)
    app = APPS[-1]
    second = make_key(url, app)
    limit_key(url, first, events_per_day=2)
    follow(server, url)
    with connected(server.port) as client:
        assert statuses(client, second, 1) == [200]
        assert statuses(client, first, 4) == [200, 200, 429, 429]
        told = client.ask(keyed(first)).json()["error"]["message"]
        assert told.startswith("This API key may send 2 events a day;")
        assert statuses(client, second, 3) == [200, 200, 429]
        told = client.ask(keyed(second)).json()["error"]["message"]
        assert told.startswith("This app may send 5 events a day;")


@pytest.mark.parametrize("send", OURS)
@pytest.mark.parametrize("of_key", [False, True])
def test_every_way_in_has_the_same_limit(
    server: Server,
    limited: MakeLimited,
    send: Callable[[Server, str], requests.Response],
    *,
    of_key: bool,
) -> None:
    """And takes from it: what one way has used up, no other has."""
    key = limited(of_key=of_key, events_per_day=2)
    assert [send(server, key).status_code // 100 for _ in range(3)] == [2, 2, 4]
    for other in OURS:
        answer = other(server, key)
        assert (answer.status_code, batches.code_of(answer)) == (429, "too_many_requests")
        assert int(answer.headers["Retry-After"]) > 60


SDKS = {
    "py-segment": 429,
    "node-segment": 429,
    "py-rudder": 429,
    "py-posthog": 503,
    "web-posthog": 503,
    "node-amplitude": 503,
    "node-openpanel": 503,
    "node-umami": 503,
}
"""What each is told: by 429 PostHog's in the browser drops its events."""


@pytest.mark.parametrize("name", SDKS)
def test_sdk_is_told_so_that_it_sends_again(
    server: Server, limited: MakeLimited, name: str
) -> None:
    """In the flat form that it reads, with the time to wait; nothing of it is stored."""
    key = limited(events_per_day=1)
    assert send_event(server, key).status_code == 200
    sent = [each for each in recorded(name, key) if each.method == "POST"]
    told = [each.send(server) for each in sent if not each.path.startswith("/flags")]
    assert {each.status_code for each in told} == {SDKS[name]}
    for each in told:
        assert each.json()["detail"] == "too_many_requests"
        assert each.json()["code"] == SDKS[name]
        assert int(each.headers["Retry-After"]) > 60
        assert each.headers["RateLimit-Limit"] == "1"


def test_sdk_s_events_are_counted_one_by_one(server: Server, limited: MakeLimited) -> None:
    """Those of its batch."""
    key = limited(events_per_day=1_000)
    (sent, *_) = (each for each in recorded("py-segment", key) if each.path.endswith("/batch"))
    events = len(json.loads(sent.body)["batch"])
    assert events > 1
    assert sent.send(server).status_code == 200
    let_in = 0
    while send_event(server, key).status_code == 200 and let_in < 1_000:
        let_in += 10
        assert batches.post(server, batches.events(9, "a"), X_API_Key=key).status_code == 200
    assert 1_000 - events - 9 <= let_in <= 1_000 - events + 9


def test_batch_is_let_in_whole_and_owed_for(server: Server, limited: MakeLimited) -> None:
    """While anything is left; then the next one is refused whole, whatever its size."""
    key = limited(events_per_day=10)
    assert batches.post(server, batches.events(9, "a"), X_API_Key=key).status_code == 200
    assert batches.post(server, batches.events(500, "a"), X_API_Key=key).status_code == 200
    assert batches.post(server, batches.events(1, "a"), X_API_Key=key).status_code == 429


@pytest.mark.parametrize("prefer", ["", "return=minimal", "respond-async"])
def test_all_events_of_a_batch_count_the_bad_ones_too(
    server: Server, limited: MakeLimited, prefer: str
) -> None:
    """A refused event costs as much as one that is stored; a broken document has none."""
    key, headers = limited(events_per_day=4), {"Prefer": prefer} if prefer else {}
    bad = [{"event_name": ""}, {"event_name": "a"}, {"event_nam": "a"}]
    assert batches.send(server, b"[{", X_API_Key=key, **headers).status_code == 400
    assert batches.post(server, bad, X_API_Key=key, **headers).status_code == 207
    assert batches.post(server, batches.events(1, "a"), X_API_Key=key).status_code == 200
    assert batches.post(server, batches.events(1, "a"), X_API_Key=key).status_code == 429


def test_retry_counts_again(server: Server, limited: MakeLimited) -> None:
    """It is a request; what it brings is stored once all the same."""
    key = limited(events_per_day=3)
    with connected(server.port) as client:
        assert statuses(client, key, 4, "Idempotency-Key: a") == [200, 200, 200, 429]


def test_refused_event_counts_too(server: Server, limited: MakeLimited) -> None:
    """One that is no event costs as much as one that is."""
    key = limited(events_per_day=2)
    with connected(server.port) as client:
        assert client.ask(keyed(key, body=b'{"event_name":7}')).status == 400
        assert statuses(client, key, 2) == [200, 429]
        assert client.ask(keyed(key, body=b'{"event_name":7}')).status == 429


def test_bytes_are_those_of_bodies_inflated(server: Server, limited: MakeLimited) -> None:
    """However they were packed, and whatever the head has."""
    body = b"[%b]" % b",".join([EVENT] * 10)
    for encoding, sent in (("", body), ("gzip", gzip.compress(body))):
        key = limited(bytes_per_day=2 * len(body) + 1)
        headers = {"Content_Encoding": encoding} if encoding else {}
        told = [
            batches.send(server, sent, X_API_Key=key, X_More="a" * 500, **headers).status_code
            for _ in range(4)
        ]
        assert told == [200, 200, 200, 429]
    key = limited(bytes_per_day=3 * len(EVENT))
    with connected(server.port) as client:
        assert statuses(client, key, 4) == [200, 200, 200, 429]


def test_batch_over_the_limit_is_told_before_its_body_is_read(
    server: Server, limited: MakeLimited
) -> None:
    """Nobody waits for what will be refused."""
    key = limited(events_per_day=1)
    with connected(server.port) as client:
        assert statuses(client, key, 1) == [200]
        head = keyed(key, "Expect: 100-continue").removesuffix(EVENT)
        answer = client.ask(head.replace(b"/event ", b"/events "))
    assert_refusal(answer, 429, "too_many_requests")


def test_pipelined_events_are_answered_in_order(server: Server, limited: MakeLimited) -> None:
    """Those that are let in and those that are not, of two keys in turn."""
    key = limited(events_per_day=3)
    requests_ = b"".join(keyed(each) for each in [key, server.key] * 40)
    with connected(server.port) as client:
        client.send(requests_)
        told = [client.read().status for _ in range(80)]
    assert told == [200, 200] * 3 + [429, 200] * 37


def test_refused_event_whose_connection_ends_is_answered(
    server: Server, limited: MakeLimited
) -> None:
    """And so is one that has an id of its own."""
    key = limited(events_per_day=1)
    with connected(server.port) as client:
        assert statuses(client, key, 1) == [200]
        answer = client.ask(keyed(key, "X-Request-Id: abc"))
        assert (answer.status, answer.headers["x-request-id"]) == (429, "abc")
        client.send(keyed(key))
        client.half_close()
        answer = client.read()
        assert answer.status == 429
        assert client.socket.recv(1) == b""


def test_refusals_are_counted(server: Server, limited: MakeLimited) -> None:
    """By code, by route and status, as all others."""
    key = limited(events_per_day=2)
    before = server.metrics()
    with connected(server.port) as client:
        assert statuses(client, key, 7) == [200] * 2 + [429] * 5
    assert batches.send(server, b"[]", X_API_Key=key).status_code == 429
    after = server.metrics()
    for name, events in (
        ("nonito_events_refused_total{too_many_requests}", 6),
        ("nonito_requests_total{/event,429}", 5),
    ):
        assert after[name] - before.get(name, 0) == events, sorted(after)


def test_key_for_some_events_has_a_rate_as_well(
    server: Server, url: str, limited: MakeLimited
) -> None:
    """What it may not send at all counts, and is told first where it is seen first."""
    key = limited(of_key=True, events_per_day=3)
    with connected(server.port) as client:
        limit_key(url, key, event_names=["a"], origins=["https://shop.example"])
        follow(server, url)
        origin = "Origin: https://shop.example"
        assert client.ask(keyed(key, origin, body=b'{"event_name":"b"}')).status == 403
        assert client.ask(keyed(key, "Origin: https://evil.example")).status == 403
        assert statuses(client, key, 3, origin) == [200, 200, 429]
        assert client.ask(keyed(key, "Origin: https://evil.example")).status == 403
        named = keyed(key, origin, body=b'{"event_name":"b"}')
        assert client.ask(named).status == 429


def test_limit_that_is_changed_holds_within_a_second_or_so(
    server: Server, url: str, limited: MakeLimited
) -> None:
    """On connections that are open: lowered, raised and taken away; what was used counts."""
    key = limited(events_per_day=1_000_000)
    app = APPS[-1]
    with connected(server.port) as client:
        assert statuses(client, key, 3) == [200] * 3
        limit_app(url, app, events_per_day=3)
        wait_for(lambda: client.ask(keyed(key)).status == 429)
        limit_app(url, app, events_per_day=None)
        wait_for(lambda: client.ask(keyed(key)).status == 200)
        assert statuses(client, key, 20) == [200] * 20


async def test_head_of_a_key_with_a_rate_is_the_fast_lane_s(url: str) -> None:
    """But it is no plain one, which costs the least."""
    limited, plain = [await asyncio.to_thread(make_key, url, app) for app in ("limited", "plain")]
    await asyncio.to_thread(limit_app, url, "limited", events_per_second=5)
    keyring = Keyring(make_postgres(url), poll_interval_s=3600)
    await keyring.load()
    for key, is_plain in ((limited, False), (plain, True)):
        head = parse(keyed(key).removesuffix(EVENT), keyring.plain_grant_of)
        assert head is not None
        assert (head.is_plain, head.allowance is None) == (is_plain, is_plain)


def test_both_lanes_tell_it_in_the_same_words(server: Server, limited: MakeLimited) -> None:
    """With the same headers: that of a plain event, and one that aiohttp has to answer."""
    key = limited(events_per_day=1)
    with connected(server.port) as client:
        assert statuses(client, key, 1) == [200]
        plain = client.ask(keyed(key))
        deferred = client.ask(keyed(key, "TE: trailers"))
    assert plain.status == deferred.status == 429
    assert plain.headers.keys() == deferred.headers.keys()
    told = [re.sub(rb"\d+ s", b"", each.body) for each in (plain, deferred)]
    assert told[0] == told[1]
