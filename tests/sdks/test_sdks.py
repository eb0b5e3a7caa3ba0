"""Existing SDKs themselves, unchanged but for an address and a key: each event is stored once."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import make_key
from tests.sdks.conftest import Row, rows_of
from tests.support.server import Server

pytestmark = pytest.mark.slow

HERE: Final = Path(__file__).parent
NODE: Final = shutil.which("node")
MODULES: Final = HERE.parent / "node/node_modules"
TIMEOUT_S: Final = 60
WHEN: Final = datetime.now(UTC).replace(microsecond=123_000) - timedelta(days=8)
IDENTITIES: Final = ("$identify", "$groupidentify", "$create_alias")
PAGES: Final = ("$pageview", "$screen")
ORDER: Final = "Order Completed"
OPTIONS: Final = "With Options"
OF_ALL: Final = (ORDER, OPTIONS)
OF_PYTHON: Final[dict[str, tuple[str, ...]]] = {
    "segment": (*OF_ALL, *IDENTITIES, *PAGES, "NaN"),
    "rudder": (*OF_ALL, *IDENTITIES, *PAGES, "NaN"),
    "posthog": (*OF_ALL, "$set", "$groupidentify", "$create_alias", "NaN"),
    "amplitude": (*OF_ALL, "$identify", "$identify", "NaN"),
}
"""The events of each, but for one that can't be stored."""
OF_NODE: Final[dict[str, tuple[str, ...]]] = {
    "segment": (*OF_ALL, *IDENTITIES, *PAGES),
    "rudder": (*OF_ALL, *IDENTITIES, *PAGES),
    "posthog": (*OF_ALL, *IDENTITIES),
    "amplitude": (*OF_ALL, "$identify", "$identify"),
    "openpanel": (*OF_ALL, "$identify", "$increment"),
    "umami": (ORDER, "$pageview", "$identify"),
}
UNASKED: Final = ("$feature_flag_called",)


def send(server: Server, key: str, *command: str) -> None:
    """Run an SDK; fail if it did not end well."""
    ended = subprocess.run(
        [*command, server.url, key, WHEN.isoformat()],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def of_app(url: str, table: str, app_id: int) -> list[Row]:
    """Return what a table has of an app."""
    return [row for row in rows_of(url, table) if row["app_id"] == app_id]


def sent(server: Server, url: str, app: str, *command: str) -> tuple[list[Row], list[Row]]:
    """Return what an SDK has stored for an app of its own, and what was set aside."""
    key = make_key(url, app)
    before = {row["app_id"] for row in rows_of(url, "events")}
    send(server, key, *command)
    (app_id,) = {row["app_id"] for row in rows_of(url, "events")} - before
    return of_app(url, "events", app_id), of_app(url, "rejected_events", app_id)


def assert_all_there(rows: list[Row], expected: tuple[str, ...]) -> None:
    """Assert that there are these events and no others, with what they were sent with."""
    names = Counter(row["event_name"] for row in rows if row["event_name"] not in UNASKED)
    assert names == Counter(expected)
    by_name = {row["event_name"]: row for row in rows}
    params: dict[str, Any] = by_name[ORDER]["params"]
    assert (params["plan"], params["int"]) == ("pro", 42)
    if "unicode" in params:
        assert (params["unicode"], params["float"], params["flag"]) == ("Zoë 日本 🎉", 19.99, False)
    if "nested" in params:
        assert params["nested"] == {"a": {"b": [1, "two", None, True]}}
        assert (params.get("nothing"), params["list"]) == (None, ["x", {"y": 1}])
        assert params.get("big", 9007199254740993) == 9007199254740993
    if OPTIONS in expected:
        assert by_name[OPTIONS]["timestamp"] == WHEN
    if "NaN" in expected:
        assert by_name["NaN"]["params"].get("nan") is None


@pytest.mark.parametrize("sdk", OF_PYTHON)
def test_python_sdk_sends_here_unchanged(
    shared_server: Server, shared_database_url: str, sdk: str
) -> None:
    """What can't be stored is set aside with its reason, and costs its batch nothing."""
    command = (sys.executable, str(HERE / "python_sdks.py"), sdk)
    rows, aside = sent(shared_server, shared_database_url, f"python {sdk}", *command)
    assert_all_there(rows, OF_PYTHON[sdk])
    assert [row["event_name"] for row in aside] == ["Bad"]
    assert all(row["message"].startswith("invalid_event_params") for row in aside)


@pytest.mark.skipif(NODE is None or not MODULES.exists(), reason="needs node, and npm ci")
@pytest.mark.parametrize("sdk", OF_NODE)
def test_node_sdk_sends_here_unchanged(
    shared_server: Server, shared_database_url: str, sdk: str
) -> None:
    """All that it has to send, each once."""
    command = (str(NODE), str(HERE / "node_sdks.mjs"), sdk)
    rows, aside = sent(shared_server, shared_database_url, f"node {sdk}", *command)
    assert_all_there(rows, OF_NODE[sdk])
    assert aside == []
