"""The main job on real input: whole files of events, sent by the clients that people use.

EVENTS_NDJSON names a larger file to send instead of the one that comes with the tests.
"""

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import fetch
from tests.support.server import Server

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
EVENTS = Path(os.environ.get("EVENTS_NDJSON", HERE / "data" / "events.ndjson"))
CLIENTS = {
    "curl": ("sh", HERE / "clients" / "curl_client.sh"),
    "requests": (sys.executable, HERE / "clients" / "requests_client.py"),
    "node": ("node", HERE / "clients" / "fetch_client.mjs"),
}


@pytest.mark.parametrize("client", CLIENTS)
async def test_every_event_of_a_file_is_stored_once_and_equal(
    server: Server, database_url: str, client: str
) -> None:
    """As JSON equal to what was sent, with the time that the answer named."""
    if shutil.which(client) is None and client != "requests":
        pytest.skip(f"{client} is not installed")
    sent = [json.loads(line) for line in EVENTS.read_bytes().splitlines()]  # noqa: ASYNC240
    answers = send(client, server)
    assert len(answers) == len(sent)
    rows = await fetch(database_url, "SELECT id::text AS text, * FROM events ORDER BY events.id")
    assert len(rows) == len(sent)
    for event, answer, row in zip(sent, answers, rows, strict=True):
        (said,) = answer["data"]
        assert said["event_name"] == row["event_name"] == event["event_name"]
        assert json.loads(row["event_params"]) == said["event_params"] == event["event_params"]
        assert datetime.fromisoformat(said["created_at"]) == row["created_at"]
        assert said["id"] == row["text"]


def send(client: str, server: Server) -> list[dict[str, list[dict[str, Any]]]]:
    """Run a client over the file; return the answers in order."""
    printed = subprocess.run(
        [*CLIENTS[client], f"{server.url}/event", server.key, EVENTS],
        capture_output=True,
        check=True,
        timeout=120,
    ).stdout
    return [json.loads(line) for line in printed.splitlines()]
