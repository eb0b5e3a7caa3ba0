"""Where keys may stand, what is refused and how, and what hurts nobody."""

import base64
import gzip
import json
import random
import string
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from ingest.store.cluster import Cluster
from ingest.store.key_limits import KeyLimits
from tests.conftest import OWN_DATABASE, StartServer, make_key
from tests.sdks.conftest import Stored, rows_of
from tests.sdks.recorded import TIMEOUT_S
from tests.sdks.test_cloud_events import CLOUD
from tests.support.postgres import kill
from tests.support.raw import Answer, connected
from tests.support.server import Server, wait_for, wait_until_drained

SHOP = "https://shop.example"
TRACK = {"event": "view", "userId": "u", "messageId": "m", "type": "track"}
BATCHES: dict[str, Any] = {
    "/v1/batch": {"batch": [TRACK]},
    "/v1/t": TRACK,
    "/batch/": {"batch": [{"event": "view", "distinct_id": "u"}]},
    "/batch": {"events": [{"event_type": "view", "user_id": "u"}]},
    "/e/": [{"event": "view", "properties": {"distinct_id": "u"}}],
    "/capture": {"event": "view", "distinct_id": "u"},
    "/i/v1/analytics/events": {"batch": [{"event": "view", "distinct_id": "u"}]},
    "/2/httpapi": {"events": [{"event_type": "view", "user_id": "u"}]},
    "/track": {"type": "track", "payload": {"name": "view"}},
    "/api/send": {"type": "event", "payload": {"name": "view"}},
}
"""A good body of each path, without a key."""


def post(server: Server, path: str, body: object, **headers: str) -> requests.Response:
    """Send a body with headers, whose names have `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(f"{server.url}{path}", data=data, headers=named, timeout=TIMEOUT_S)


def basic(key: str) -> str:
    """Return the header in which Segment's SDKs have the key."""
    return f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"


@pytest.mark.parametrize("path", BATCHES)
def test_key_is_found_wherever_an_sdk_has_it(
    shared_server: Server, stored: Stored, path: str
) -> None:
    """As Basic's user, as Bearer, in a header of its own."""
    key, before = shared_server.key, len(stored())
    places = [
        {"Authorization": basic(key)},
        {"Authorization": f"Bearer {key}"},
        {"X_API_Key": key},
        {"openpanel_client_id": key},
        {"Authorization": basic(key), "X_API_Key": key},
    ]
    for each in places:
        answer = post(shared_server, path, BATCHES[path], **each)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    if path != "/v1/t":  # of which there is one, as it has an id
        assert len(stored()) > before


@pytest.mark.parametrize("path", BATCHES)
@pytest.mark.parametrize("key", ["", "nk_wrong", "two"])
def test_wrong_key_is_refused_flat(shared_server: Server, path: str, key: str) -> None:
    """As SDKs understand it; Amplitude's needs a 400 to give up."""
    headers = {"Authorization": basic(key)} if key else {}
    if key == "two":
        headers = {"Authorization": basic(shared_server.key), "X_API_Key": "nk_wrong"}
    answer = post(shared_server, path, BATCHES[path], **headers)
    body = answer.json()
    is_amplitudes = path in ("/2/httpapi", "/batch", "/batch/")
    assert answer.status_code == body["code"] == (400 if is_amplitudes else 401)
    assert body["error"].startswith("Invalid API key:") == is_amplitudes
    assert (body["success"], body["status"], body["message"]) == (False, 0, body["error"])
    assert "nk_" not in body["error"].replace("nk_…", "")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b'{"batch": 1}',
        b'{"batch": [',
        b"\xff\xfe",
        b'{"batch": {}}',
        b"[" * 99_999,
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", BATCHES)
def test_what_is_no_body_is_refused_or_set_aside(
    shared_server: Server, path: str, body: bytes
) -> None:
    """Never a server's error."""
    answer = post(shared_server, path, body, Authorization=basic(shared_server.key))
    assert answer.status_code in (200, 400), answer.text
    assert answer.json()["code"] == answer.status_code


def test_any_bytes_get_an_answer_that_means_something(shared_server: Server) -> None:
    """Good requests with anything changed in them; the server goes on."""
    chosen = random.Random(4)
    for number in range(600):
        path = chosen.choice([*BATCHES])
        body = bytearray(json.dumps(BATCHES[path]).encode())
        for _ in range(chosen.randrange(1, 6)):
            at = chosen.randrange(len(body))
            body[at : at + chosen.randrange(3)] = bytes(
                chosen.choice((chosen.randrange(256), *b'{}[]",:\\0')) for _ in range(2)
            )
        sent = gzip.compress(bytes(body)) if number % 5 == 0 else bytes(body)
        answer = post(shared_server, path, sent, Authorization=basic(shared_server.key))
        assert answer.status_code in (200, 400), (path, body, answer.text)
        assert answer.json()["success"] == (answer.status_code == 200)
    answer = post(shared_server, "/v1/t", TRACK, Authorization=basic(shared_server.key))
    assert answer.status_code == 200


def test_one_bad_event_costs_its_batch_nothing(
    shared_server: Server, stored: Stored, aside: Stored
) -> None:
    """Whatever is wrong with it; set aside it is once, however often it is sent."""
    name = "".join(random.choices(string.ascii_lowercase, k=12))
    bad = [
        {**TRACK, "event": "", "messageId": f"{name}1"},
        {**TRACK, "event": f"{name}0", "properties": {"a": "\0"}, "messageId": f"{name}2"},
        {**TRACK, "event": "x" * 300, "messageId": f"{name}3"},
        {**TRACK, "type": "unheard of", "messageId": f"{name}4"},
        f"no object {name}",
    ]
    good = [{**TRACK, "event": name, "messageId": f"{name}{n}"} for n in range(10, 14)]
    before = len(aside())
    for _ in range(2):
        answer = post(
            shared_server,
            "/v1/batch",
            {"batch": [*bad[:2], *good, *bad[2:]]},
            Authorization=basic(shared_server.key),
        )
        assert answer.status_code == 200, answer.text
    assert len([row for row in stored() if row["event_name"] == name]) == 4
    reasons = [row["message"].partition(":")[0] for row in aside()]
    assert len(aside()) - before == 5
    assert {"invalid_event_name", "invalid_event_params", "invalid_json"} <= {*reasons}
    assert any(name in row["params"] for row in aside())


def test_outage_is_a_200_for_what_is_spooled_and_a_503_for_what_must_be_set_aside(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """Sent again once Postgres is back all of it is there, once."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url)
    good = {**TRACK, "messageId": "good", "timestamp": "2026-11-20T10:00:00Z"}
    bad = {**TRACK, "messageId": "bad", "properties": {"a": "\0"}}
    headers = {"Authorization": basic(server.key)}
    kill(own_cluster)
    assert post(server, "/v1/batch", {"batch": [good]}, **headers).status_code == 200
    answer = post(server, "/v1/batch", {"batch": [good, bad]}, **headers)
    assert (answer.status_code, answer.json()["code"]) == (503, 503)
    assert int(answer.headers["Retry-After"]) >= 1
    own_cluster.start("max_connections=300")
    for _ in range(2):
        while post(server, "/v1/batch", {"batch": [good, bad]}, **headers).status_code == 503:
            pass
    assert [row["event_name"] for row in rows_of(url, "rejected_events")] == ["view"]
    wait_until_drained(server)
    assert len(rows_of(url, "events")) == 1


def test_bodies_without_a_key_yet_have_a_part_of_the_room(
    database_url: str, start_server: StartServer
) -> None:
    """However many come, those who have shown a key are served."""
    server = start_server(database_url, limits__bodies_bytes_max=4 << 20)
    head = b"POST /batch HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server.port)) for _ in range(6)]
        for client in clients:
            client.send(head + b'{"batch": [' + b" " * 800_000)
        refused = [client.read() for client in clients[-3:]]
        assert {answer.status for answer in refused} == {503}
        large = {**TRACK, "properties": {"text": "a" * 500_000}}
        answer = post(server, "/v1/t", large, Authorization=basic(server.key))
        assert answer.status_code == 200, answer.text


def raw(server: Server, line: str, headers: dict[bytes, bytes], body: bytes = b"") -> Answer:
    """Send bytes that no library would; with the key unless another is there."""
    headers = {b"X-API-Key": server.key.encode(), b"Host": b"x"} | headers
    headers[b"Content-Length"] = str(len(body)).encode()
    lines = b"".join(b"%b: %b\r\n" % each for each in headers.items())
    with connected(server.port) as client:
        return client.ask(f"{line} HTTP/1.1\r\n".encode() + lines + b"\r\n" + body)


def test_bytes_that_are_no_text_are_the_client_s_fault(shared_server: Server) -> None:
    """Wherever they are."""
    basic_ = {b"X-API-Key": b"", b"Authorization": b"Basic \xff\xff"}
    assert raw(shared_server, "POST /v1/t", basic_, b"{}").status in (400, 401)
    assert raw(shared_server, "GET /v1/projects/a/settings", {b"Host": b"a\xff"}).status < 500
    assert raw(shared_server, "GET /sourceConfig/?writeKey=%ff%fe", {}).status == 200
    cloud = {name.encode(): value.encode() for name, value in CLOUD.items()}
    for value in (b"s\xff", b"%ff"):
        assert raw(shared_server, "POST /event", cloud | {b"ce-source": value}, b"{}").status == 400


def test_time_that_nobody_can_write_costs_a_batch_nothing(
    shared_server: Server, stored: Stored
) -> None:
    """Of an event that is set aside."""
    bad = {**TRACK, "properties": {"a": "\0"}, "timestamp": "9999-12-31T23:59:59-01:00"}
    good = {**TRACK, "event": "beside", "messageId": "beside"}
    answer = post(
        shared_server, "/v1/batch", {"batch": [bad, good]}, Authorization=basic(shared_server.key)
    )
    assert answer.status_code == 200, answer.text
    assert [row for row in stored() if row["event_name"] == "beside"]


@pytest.mark.parametrize(
    "body",
    [
        {"batch": [1, {"event": "p", "distinct_id": "u", "properties": {"token": "mine"}}]},
        [{"event": "p", "distinct_id": "u", "properties": {"token": "mine"}}],
    ],
)
def test_property_of_posthog_s_that_is_called_token_is_no_key(
    shared_server: Server, stored: Stored, body: object
) -> None:
    """Where the key is in the head; nor does a bad first event cost the others anything."""
    path = "/i/v1/analytics/events"
    answer = post(shared_server, path, body, Authorization=f"Bearer {shared_server.key}")
    assert answer.status_code == 200, answer.text
    assert [row for row in stored() if row["params"].get("token") == "mine"]


def test_log_of_requests_has_no_key(database_url: str, start_server: StartServer) -> None:
    """Though some paths do."""
    server = start_server(database_url, log__requests=1000)
    for path in (f"/array/{server.key}/config", f"/v1/projects/{server.key}/settings"):
        assert requests.get(f"{server.url}{path}", timeout=TIMEOUT_S).status_code == 200
    wait_for(lambda: "sdk" in server.logs())
    assert server.key not in server.logs()


def test_limited_key_sets_nothing_aside_that_it_may_not_send(
    shared_server: Server, shared_database_url: str
) -> None:
    """Nor what can't be read, of which nobody knows the name."""
    key = make_key(shared_database_url, "named", KeyLimits((), ("view",)))
    headers = {"Authorization": basic(key)}
    wait_for(lambda: post(shared_server, "/v1/t", TRACK, **headers).status_code != 401)
    bad = {"properties": {"a": "\0"}, "messageId": "b"}
    batch = [{**TRACK, **bad, "event": "buy"}, 7, {**TRACK, **bad}]
    before = len(rows_of(shared_database_url, "rejected_events"))
    assert post(shared_server, "/v1/batch", {"batch": batch}, **headers).status_code == 200
    assert len(rows_of(shared_database_url, "rejected_events")) == before + 1


def test_limits_of_a_key_hold_here_too(shared_server: Server, shared_database_url: str) -> None:
    """To pages, and to names; of a batch what may not be sent is left out and counted."""
    key = make_key(shared_database_url, "limited", KeyLimits((SHOP,), ("view",)))
    headers = {"Authorization": basic(key)}
    wait_for(lambda: post(shared_server, "/v1/t", TRACK, **headers).status_code != 401)
    assert post(shared_server, "/v1/t", TRACK, **headers).status_code == 403
    headers["Origin"] = SHOP
    assert post(shared_server, "/v1/t", TRACK, **headers).status_code == 200
    buy = {**TRACK, "event": "buy", "messageId": "m2"}
    answer = post(shared_server, "/v1/t", buy, **headers)
    assert (answer.status_code, answer.json()["detail"]) == (403, "event_name_not_allowed")
    both = post(shared_server, "/v1/batch", {"batch": [buy, TRACK]}, **headers)
    assert both.status_code == 200
    names = {row["event_name"] for row in rows_of(shared_database_url, "events")}
    assert "buy" not in names


def test_protocols_are_chosen(database_url: str, start_server: StartServer) -> None:
    """What is not spoken leads nowhere; `/batch` is whose that is there."""
    server = start_server(database_url, server__protocols="amplitude")
    headers = {"Authorization": basic(server.key)}
    for path, body in BATCHES.items():
        status = post(server, path, body, **headers).status_code
        is_amplitudes = path in ("/2/httpapi", "/batch")
        assert status == (200 if is_amplitudes else 400 if path == "/batch/" else 404), path
    assert (
        requests.get(f"{server.url}/array/{server.key}/config", timeout=TIMEOUT_S).status_code
        == 404
    )


def test_what_sdks_ask_for_besides(shared_server: Server) -> None:
    """Enough that they send."""
    url, key = shared_server.url, shared_server.key
    flags = post(shared_server, "/flags/?v=2", {"token": key}).json()
    assert flags == {"flags": {}, "featureFlags": {}}
    config = requests.get(f"{url}/array/{key}/config", timeout=TIMEOUT_S)
    assert config.json()["supportedCompression"] == ["gzip-js"]
    settings = requests.get(f"{url}/v1/projects/{key}/settings", timeout=TIMEOUT_S)
    source = settings.json()["integrations"]["Segment.io"]
    assert source == {
        "apiKey": key,
        "apiHost": f"{url.removeprefix('http://')}/v1",
        "protocol": "http",
    }
    source = requests.get(f"{url}/sourceConfig/?writeKey={key}", timeout=TIMEOUT_S).json()["source"]
    assert (source["enabled"], source["writeKey"]) == (True, key)
    for answer in (config, settings):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    for path in (f"/array/{key}/config.js", "/static/1.2/surveys.js"):
        assert requests.get(f"{url}{path}", timeout=TIMEOUT_S).status_code == 404


@pytest.mark.parametrize(
    ("headers", "protocol"),
    [
        ({"X-Forwarded-Proto": "https"}, "https"),
        ({"Origin": "https://shop.example", "Host": "events.example"}, "https"),
        ({"Origin": "https://shop.example"}, "http"),
        ({"Origin": "http://shop.example", "Host": "events.example"}, "http"),
    ],
)
def test_page_of_https_is_told_to_send_by_https(
    shared_server: Server, headers: dict[str, str], protocol: str
) -> None:
    """A browser lets it do nothing else, but to its own machine."""
    path = f"{shared_server.url}/v1/projects/k/settings"
    answer = requests.get(path, headers=headers, timeout=TIMEOUT_S).json()
    assert answer["integrations"]["Segment.io"]["protocol"] == protocol
