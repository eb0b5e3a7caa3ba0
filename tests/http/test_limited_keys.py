"""Keys with limits: to pages of some origins, or events of some names; by every way in."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from ingest.http.head import parse
from ingest.store.cluster import Cluster
from ingest.store.key_limits import KeyLimits
from ingest.store.keyring import Keyring
from tests.conftest import OWN_DATABASE, StartServer, make_key
from tests.http import batches
from tests.http.batches import NDJSON, errors_of, send, stored, told, unique
from tests.http.cases import EVENT, KEY, post
from tests.http.checks import assert_open_to_browsers, assert_refusal, assert_success, query
from tests.support.postgres import fetch, kill, make_postgres, new_database
from tests.support.raw import connected
from tests.support.server import LANES, Server, running_server, wait_for

SHOP = "https://shop.example"
LIMITS = KeyLimits((SHOP, "https://*.shop.example"), ("a", "view"))


class Keys(NamedTuple):
    """One of each."""

    plain: str
    of_pages: str
    of_names: str
    of_both: str


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """A database for both servers."""
    with new_database(cluster) as made:
        yield made


@pytest.fixture(scope="module")
def keys(url: str) -> Keys:
    """Keys of it."""
    limits = (None, LIMITS._replace(event_names=()), LIMITS._replace(origins=()), LIMITS)
    return Keys(*(make_key(url, limits=each) for each in limits))


@pytest.fixture(scope="module", params=LANES)
def server(request: pytest.FixtureRequest, url: str, keys: Keys) -> Iterator[Server]:
    """A server with the fast lane, and then one without; both take keys in the query."""
    settings = {"server.fast_lane": request.param, "server.key_in_query": "true"}
    with running_server(("--database-url", url), keys.plain, settings) as running:
        yield running


def keyed(key: str, *headers: str, body: bytes = EVENT) -> bytes:
    """Return an event's request with a key."""
    return post(*map(str.encode, headers), body=body).replace(KEY, key.encode())


def body_of(name: str) -> bytes:
    """Return an event."""
    return json.dumps({"event_name": name}).encode()


@pytest.mark.parametrize("origin", [SHOP, "https://www.shop.example", "https://a.b.shop.example"])
def test_page_of_a_key_s_origin_sends(server: Server, keys: Keys, origin: str) -> None:
    """By itself and after others on the connection; what is answered, its script may read."""
    with connected(server.port) as client:
        for key in (keys.plain, keys.of_pages, keys.of_both, keys.plain):
            answer = client.ask(keyed(key, f"Origin: {origin}"))
            assert_success(answer)
            assert_open_to_browsers(answer)


@pytest.mark.parametrize(
    "origins",
    [
        ["https://shop.example.org"],
        ["http://shop.example"],
        ["https://shop.example:8443"],
        ["https://shop.example/"],
        ["HTTPS://SHOP.EXAMPLE"],
        ["https://evilshop.example"],
        ["https://.shop.example"],
        ["https://evil.example/.shop.example"],
        ["https://evil.example#.shop.example"],
        ["https://user@www.shop.example"],
        ["https://*.shop.example"],
        ["null"],
        [""],
        ["https://shop.example https://evil.example"],
        [SHOP, "https://evil.example"],
        ["https://evil.example", SHOP],
        [SHOP, SHOP],
    ],
)
def test_page_of_another_origin_is_refused(server: Server, keys: Keys, origins: list[str]) -> None:
    """It is told so in words that its script may read, and that name no origin of the key's."""
    headers = [f"Origin: {each}" for each in origins]
    with connected(server.port) as client:
        for key in (keys.of_pages, keys.of_both):
            answer = client.ask(keyed(key, *headers))
            assert "shop" not in assert_refusal(answer, 403, "origin_not_allowed")
            assert_open_to_browsers(answer)
        assert_success(client.ask(keyed(keys.of_names, *headers)))


def test_request_of_no_page_is_refused_and_told_why(server: Server, keys: Keys) -> None:
    """As a program's is, which says no origin; so is a batch."""
    with connected(server.port) as client:
        refused = client.ask(keyed(keys.of_pages))
    assert "Origin" in assert_refusal(refused, 403, "origin_not_allowed")
    batch = send(server, b"[%b]" % EVENT, X_API_Key=keys.of_pages)
    assert (batch.status_code, batches.code_of(batch)) == (403, "origin_not_allowed")


def test_page_is_told_before_its_body_is_read(server: Server, keys: Keys) -> None:
    """Nobody waits for what will be refused."""
    request = keyed(keys.of_pages, "Origin: https://evil.example", "Expect: 100-continue")
    with connected(server.port) as client:
        answer = client.ask(request.removesuffix(EVENT))
    assert_refusal(answer, 403, "origin_not_allowed")


def test_event_of_another_name_is_refused(server: Server, keys: Keys, url: str) -> None:
    """Whatever else the request says; nothing of it is stored, and the connection goes on."""
    name = unique()
    with connected(server.port) as client:
        for headers in ((), ("Prefer: respond-async",), ("Idempotency-Key: a",)):
            answer = client.ask(keyed(keys.of_names, *headers, body=body_of(name)))
            assert_refusal(answer, 403, "event_name_not_allowed")
            assert_open_to_browsers(answer)
        for allowed in ("a", "view"):
            assert_success(client.ask(keyed(keys.of_names, body=body_of(allowed))))
        for near in ("A", "vie", "views", " view"):
            answer = client.ask(keyed(keys.of_names, body=body_of(near)))
            assert_refusal(answer, 403, "event_name_not_allowed")
        bad = client.ask(keyed(keys.of_names, body=b'{"event_name":7}'))
        assert_refusal(bad, 400, "invalid_event_name")
    assert stored(url, name) == []


def test_name_is_compared_as_it_is_read_not_as_it_is_written(server: Server, keys: Keys) -> None:
    """An escaped letter is that letter, and the last of two names counts."""
    with connected(server.port) as client:
        assert_success(client.ask(keyed(keys.of_names, body=rb'{"event_name":"\u0061"}')))
        twice = client.ask(keyed(keys.of_names, body=b'{"event_name":"a","event_name":"b"}'))
        assert_refusal(twice, 403, "event_name_not_allowed")


@pytest.mark.parametrize("kind", [batches.JSON, NDJSON])
def test_event_of_a_batch_is_refused_by_itself(
    server: Server, keys: Keys, url: str, kind: str
) -> None:
    """With an id or a time or without; its neighbours are stored, and in their order."""
    sent = [
        {"event_name": "view", "event_params": {"n": 0, "k": kind}},
        {"event_name": "other", "event_params": {"n": 1}},
        {"event_name": "other", "id": "019ba7c7-127b-7f9a-a84b-77c69c54c242"},
        {"event_name": "other", "timestamp": "2026-01-10T12:00:00Z"},
        {"event_name": "", "event_params": {"n": 4}},
        {"event_name": "view", "event_params": {"n": 5, "k": kind}},
    ]
    lines = list(map(json.dumps, sent))
    body = f"[{','.join(lines)}]" if kind == batches.JSON else "\n".join(lines)
    before = server.metrics()
    answer = send(server, body.encode(), kind, X_API_Key=keys.of_names)
    assert answer.status_code == 207
    assert errors_of(answer) == {
        1: "event_name_not_allowed",
        2: "event_name_not_allowed",
        3: "event_name_not_allowed",
        4: "invalid_event_name",
    }
    assert [each["event_params"]["n"] for each in told(answer)] == [0, 5]
    ids = {row["id"] for row in stored(url, "view")}
    assert {each["id"] for each in told(answer)} <= ids
    assert stored(url, "other") == []
    counted = "nonito_events_refused_total{event_name_not_allowed}"
    assert server.metrics()[counted] - before.get(counted, 0) == 3


@pytest.mark.parametrize("kind", [batches.JSON, NDJSON])
def test_batch_of_other_names_alone_leaves_no_trace(
    server: Server, keys: Keys, url: str, kind: str
) -> None:
    """Also one whose events have to be read one by one."""
    name = unique()
    lines = [json.dumps(each) for each in batches.events(3, name)]
    document = f"[{','.join(lines)}]" if kind == batches.JSON else "\n".join([*lines, "[]"])
    answer = send(server, document.encode(), kind, X_API_Key=keys.of_names)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_batch")
    assert set(list(errors_of(answer).values())[:3]) == {"event_name_not_allowed"}
    assert stored(url, name) == []


def test_beacon_of_another_page_is_refused(server: Server, keys: Keys) -> None:
    """A key in the query has its limits, too."""
    for origin, status in ((SHOP, 200), ("https://evil.example", 403)):
        answer = requests.post(
            f"{server.url}/event?key={keys.of_both}",
            data=EVENT,
            headers={"Content-Type": "text/plain", "Origin": origin},
            timeout=30,
        )
        assert answer.status_code == status


async def test_no_head_with_a_limited_key_is_the_fast_lane_s(url: str, keys: Keys) -> None:
    """Whichever limit it has, and whatever page it comes from; that of a plain key is."""
    keyring = Keyring(make_postgres(url), poll_interval_s=3600)
    await keyring.load()
    for headers in ((), (f"Origin: {SHOP}",)):
        taken = [
            parse(keyed(key, *headers).removesuffix(EVENT), keyring.plain_grant_of) is not None
            for key in keys
        ]
        assert taken == [True, False, False, False]


@pytest.mark.parametrize("workers", [1, 2])
def test_limit_that_is_set_by_hand_holds_within_a_second(
    database_url: str, start_server: StartServer, workers: int
) -> None:
    """With every worker, also on connections of the fast lane; and it ends so, too."""
    server = start_server(database_url, server__workers=workers)
    request = keyed(server.key)
    with connected(server.port) as first, connected(server.port) as second:
        clients = (first, second)
        assert [client.ask(request).status for client in clients] == [200, 200]
        query(database_url, "UPDATE api_keys SET event_names = '{b}'")
        wait_for(lambda: [each.ask(request).status for each in clients] == [403, 403], 5)
        query(database_url, "UPDATE api_keys SET event_names = '{}'")
        wait_for(lambda: [each.ask(request).status for each in clients] == [200, 200], 5)


def test_limits_hold_after_a_start_without_postgres(
    own_cluster: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """By the keys that were kept on disk."""
    url = own_cluster.url(OWN_DATABASE)
    key = make_key(url, limits=LIMITS)
    first = start_server(url, key=key, spool__path=tmp_path)
    assert first.post({"event_name": "a"}, Origin=SHOP).status_code == 200
    first.stop()
    kill(own_cluster)
    second = start_server(url, key=key, spool__path=tmp_path)
    assert second.post({"event_name": "a"}, Origin=SHOP).status_code == 202
    for name, origin, code in (
        ("a", "https://evil.example", "origin_not_allowed"),
        ("b", SHOP, "event_name_not_allowed"),
    ):
        answer = second.post({"event_name": name}, Origin=origin)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, code)


def test_key_with_limits_is_known_before_the_columns_for_them_are(
    database_url: str, start_server: StartServer
) -> None:
    """As where the migration waits for a lock: without them no key has limits."""
    drop = "ALTER TABLE api_keys DROP COLUMN origins, DROP COLUMN event_names"
    key = make_key(database_url)
    asyncio.run(fetch(database_url, drop))
    assert start_server(database_url, key=key).post({"event_name": "a"}).status_code == 200
