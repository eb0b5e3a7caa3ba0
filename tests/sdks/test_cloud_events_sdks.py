"""CloudEvents' own SDKs, for Python and JavaScript: an event is the same in every mode."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import make_key
from tests.sdks.conftest import Row, rows_of
from tests.sdks.test_sdks import MODULES, NODE, TIMEOUT_S, WHEN, of_app
from tests.support.server import Server

pytestmark = pytest.mark.slow

HERE: Final = Path(__file__).parent
UNICODE: Final = "Zoë 日本 🎉 50%"
ATTRIBUTES: Final[dict[str, Any]] = {
    "type": "com.example.order",
    "source": "/shop/checkout",
    "subject": UNICODE,
    "time": WHEN.isoformat(),
    "dataschema": "https://shop.example/schema",
    "uni": UNICODE,
    "num": 7,
    "flag": True,
}
DATA: Final[dict[str, Any]] = {
    "plan": "pro",
    "unicode": UNICODE,
    "nested": {"a": {"b": [1, "two", None, True]}},
    "float": 19.99,
    "nothing": None,
    "list": ["x", {"y": 1}],
    "empty": {},
}
OF_BYTES: Final[dict[str, Any]] = {"data_base64": "AAH/"}
IDS: Final = ["alone", "binary", "binary-bytes", "bytes", "first", "second", "structured"]
LANGUAGES: Final = [
    pytest.param((sys.executable, str(HERE / "cloud_events.py")), id="python"),
    pytest.param(
        (str(NODE), str(HERE / "cloud_events.mjs")),
        id="node",
        marks=pytest.mark.skipif(
            NODE is None or not MODULES.exists(), reason="needs node, and npm ci"
        ),
    ),
]


def send(server: Server, key: str, command: tuple[str, ...]) -> list[dict[str, Any]]:
    """Have an SDK send all; return the rows of the answers."""
    texts = [json.dumps(each) for each in (ATTRIBUTES, DATA)]
    arguments = [*command, server.url, key, *texts]
    ended = subprocess.run(arguments, capture_output=True, check=False, timeout=TIMEOUT_S)
    assert ended.returncode == 0, ended.stderr.decode()
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [each["status"] for each in answers] == ["success"] * 7
    return [row for answer in answers for row in answer["data"]]


def assert_as_sent(row: Row) -> None:
    """Assert that a row has all that an event was made of; in headers all attributes are texts."""
    params = dict(row["params"])
    event_id = params.pop("$message_id")
    assert (row["event_name"], row["timestamp"]) == (ATTRIBUTES["type"], WHEN)
    for name in ATTRIBUTES.keys() - {"type", "time"}:
        value, sent = params.pop(f"${name}"), ATTRIBUTES[name]
        if event_id.startswith("binary") and not isinstance(sent, str):
            value, sent = value.lower(), json.dumps(sent)
        assert value == sent
    assert params == (OF_BYTES if event_id.endswith("bytes") else DATA)


@pytest.mark.parametrize("command", LANGUAGES)
def test_event_of_cloud_events_own_sdk_is_stored_once_as_it_was_sent(
    shared_server: Server, shared_database_url: str, command: tuple[str, ...]
) -> None:
    """Its type is the name, its attributes stand behind `$`, its data are the parameters."""
    key = make_key(shared_database_url, command[-1])
    before = {row["app_id"] for row in rows_of(shared_database_url, "events")}
    said = send(shared_server, key, command)
    assert [bool(row.get("duplicate")) for row in said] == [False] * 7 + [True]
    (app_id,) = {row["app_id"] for row in rows_of(shared_database_url, "events")} - before
    rows = of_app(shared_database_url, "events", app_id)
    assert sorted(row["params"]["$message_id"] for row in rows) == IDS
    for row in rows:
        assert_as_sent(row)
    assert {row["id"] for row in said} == {str(row["id"]) for row in rows}
    assert all(datetime.fromisoformat(row["timestamp"]) == WHEN for row in said)
    send(shared_server, key, command)
    assert of_app(shared_database_url, "events", app_id) == rows
