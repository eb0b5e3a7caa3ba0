"""What the tests of `POST /events` share: how batches are sent, and how answers are read."""

import gzip
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import requests
import zstandard

from tests.http.checks import query
from tests.support.server import Server

MIB = 1 << 20


JSON = "application/json"


NDJSON = "application/x-ndjson"


ROW = ["id", "event_name", "event_params", "created_at"]


POISON = "CREATE INDEX ON events (((event_params->>'poison')::int)) WHERE event_params ? 'poison'"


Event = dict[str, Any]


ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
    "GZIP": gzip.compress,
}


def send(server: Server, body: bytes, kind: str = JSON, **headers: str) -> requests.Response:
    """Post a document as it is."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fixed = {"X-API-Key": server.key, "Content-Type": kind}
    return requests.post(f"{server.url}/events", data=body, headers=fixed | named, timeout=60)


def post(server: Server, events: Sequence[object], **headers: str) -> requests.Response:
    """Post events as an array."""
    return send(server, json.dumps(events).encode(), **headers)


def events(count: int, name: str, **fields: Any) -> list[Event]:  # noqa: ANN401 - any JSON value
    """Return numbered events."""
    return [{"event_name": name, "event_params": {"n": n}, **fields} for n in range(count)]


def unique(prefix: str = "e") -> str:
    """Return a name that no other test uses."""
    return f"{prefix} {uuid.uuid4()}"


def stored(url: str, name: str) -> list[Event]:
    """Return what is stored under a name, in the order of `n`."""
    found = query(
        url,
        "SELECT id::text, event_params::text AS params FROM events WHERE event_name = $1",
        name,
    )
    rows = [{"id": row["id"], "event_params": json.loads(row["params"])} for row in found]
    return sorted(rows, key=lambda row: int(row["event_params"].get("n", 0)))


def told(answer: requests.Response) -> list[Event]:
    """Return the rows of a success, without what is not compared."""
    return [{key: row[key] for key in ("id", "event_params")} for row in answer.json()["data"]]


def errors_of(answer: requests.Response) -> dict[int, str]:
    """Return the codes of refused events by their index; they are told in order, and in words."""
    listed = answer.json()["errors"]
    assert all(list(each) == ["index", "code", "message"] for each in listed)
    assert all(len(each["message"]) > 10 for each in listed)
    assert [each["index"] for each in listed] == sorted({each["index"] for each in listed})
    return {each["index"]: each["code"] for each in listed}


def code_of(answer: requests.Response) -> str:
    """Return the code of an answer that refuses the document as a whole."""
    assert list(answer.json()) == ["status", "error"]
    return str(answer.json()["error"]["code"])


def request(server: Server, body: bytes, *headers: str, key: str = "") -> bytes:
    """Return a request for a raw connection."""
    lines = [
        "POST /events HTTP/1.1",
        "Host: test",
        f"X-API-Key: {key or server.key}",
        f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}",
        *headers,
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + body
