"""Every way to send one event by our own API, as a client of that kind does it."""

import gzip
import json

import requests

from tests.http import batches
from tests.http.batches import NDJSON
from tests.http.cases import EVENT
from tests.support.server import Server

TIMEOUT_S = 30


def send_event(server: Server, key: str) -> requests.Response:
    """As plainly as one can."""
    return requests.post(
        f"{server.url}/event",
        json={"event_name": "a"},
        headers={"X-API-Key": key},
        timeout=TIMEOUT_S,
    )


def send_slowly(server: Server, key: str) -> requests.Response:
    """By aiohttp's lane in any case."""
    headers = {"X-API-Key": key, "Prefer": "respond-async"}
    return requests.post(
        f"{server.url}/event", json={"event_name": "a"}, headers=headers, timeout=TIMEOUT_S
    )


def send_beacon(server: Server, key: str) -> requests.Response:
    """As a page that is left."""
    headers = {"Content-Type": "text/plain"}
    return requests.post(
        f"{server.url}/event?key={key}", data=EVENT, headers=headers, timeout=TIMEOUT_S
    )


def send_cloud_event(server: Server, key: str) -> requests.Response:
    """With an event's fields in headers."""
    headers = {
        "X-API-Key": key,
        "ce-specversion": "1.0",
        "ce-type": "a",
        "ce-source": "/a",
        "ce-id": batches.unique(),
        "Content-Type": "application/json",
    }
    return requests.post(f"{server.url}/event", data=b"{}", headers=headers, timeout=TIMEOUT_S)


def send_array(server: Server, key: str) -> requests.Response:
    """As an array of one."""
    return batches.send(server, b"[%b]" % EVENT, X_API_Key=key)


def send_lines(server: Server, key: str) -> requests.Response:
    """As one line, packed."""
    body = gzip.compress(EVENT)
    return batches.send(server, body, NDJSON, X_API_Key=key, Content_Encoding="gzip")


def send_cloud_events(server: Server, key: str) -> requests.Response:
    """As a batch of one."""
    event = {"specversion": "1.0", "type": "a", "source": "/a", "id": batches.unique()}
    kind = "application/cloudevents-batch+json"
    return batches.send(server, json.dumps([event]).encode(), kind, X_API_Key=key)


OURS = [
    send_event,
    send_slowly,
    send_beacon,
    send_cloud_event,
    send_array,
    send_lines,
    send_cloud_events,
]
