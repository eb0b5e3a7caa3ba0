"""CloudEvents: read as their binding says, refused in our shape, bounded as our events are."""

import json

import pytest
import requests

from tests.sdks.recorded import TIMEOUT_S
from tests.support.server import Server

CLOUD = {"ce-specversion": "1.0", "ce-type": "t", "ce-source": "s", "ce-id": "1"}
CLOUD_OBJECT = {"specversion": "1.0", "type": "t", "source": "s", "id": "1"}


@pytest.mark.parametrize(
    ("headers", "body", "params"),
    [
        (
            {"ce-source": '"a%20b"', "ce-x": '"q\\"%C3%AB"'},
            b"1",
            {"$source": "a b", "$x": 'q"ë', "data": 1},
        ),
        ({"content-type": "text/plain"}, "ë".encode(), {"data": "ë"}),
        ({"content-type": "text/plain"}, b"\xff", {"data_base64": "/w=="}),
    ],
)
def test_cloud_event_is_read_as_its_binding_says(
    shared_server: Server, headers: dict[str, str], body: bytes, params: dict[str, object]
) -> None:
    """Quotes are taken off, then values are percent-decoded."""
    sent = CLOUD | {"X-API-Key": shared_server.key, "ce-id": repr(body)} | headers
    answer = requests.post(f"{shared_server.url}/event", body, headers=sent, timeout=TIMEOUT_S)
    assert answer.status_code == 200, answer.text
    assert params.items() <= answer.json()["data"][0]["event_params"].items()


@pytest.mark.parametrize(
    ("path", "kind", "body", "code"),
    [
        ("/event", "+json", {**CLOUD_OBJECT, 'a":1,"b': 2}, "invalid_json"),
        ("/event", "+json", {**CLOUD_OBJECT, "specversion": "0.3"}, "invalid_json"),
        ("/event", "+json", {**CLOUD_OBJECT, "type": ""}, "missing_event_name"),
        ("/event", "+json", {**CLOUD_OBJECT, "id": None}, "invalid_id"),
        ("/events", "-batch+json", [{"event_name": "ours"}], "invalid_batch"),
        ("/events", "-batch+json", [], "empty_batch"),
    ],
)
def test_what_is_no_cloud_event_is_refused_in_our_shape(
    shared_server: Server, path: str, kind: str, body: object, code: str
) -> None:
    """As our own events are."""
    headers = {"X-API-Key": shared_server.key, "Content-Type": f"application/cloudevents{kind}"}
    url = f"{shared_server.url}{path}"
    answer = requests.post(url, json.dumps(body), headers=headers, timeout=TIMEOUT_S)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_data_that_takes_more_room_than_it_was_sent_in_is_bounded(shared_server: Server) -> None:
    """Each control character takes six bytes."""
    headers = CLOUD | {"X-API-Key": shared_server.key, "Content-Type": "text/plain"}
    body = b"\x01" * 1_000_000
    answer = requests.post(f"{shared_server.url}/event", body, headers=headers, timeout=TIMEOUT_S)
    assert answer.status_code == 413
