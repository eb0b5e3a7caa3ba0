"""Every example on the page does what the page says: taken from the page as it is served, and run.

Those that need a browser run in test_origins.py.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.http.checks import query
from tests.support.server import Server, wait_for
from tests.web.served import example, served_page

TIMEOUT_S = 60
NODE_MODULES = Path(__file__).parents[1] / "node/node_modules"
IN_BROWSER = {"keepalive", "beacon"}
FILE = [("page_view", {"page": "/home"}), ("button_click", {}), ("page_view", {"n": 3})]

Run = Callable[[str, Path], str]


def run_shell(code: str, directory: Path) -> str:
    """Return what a shell prints."""
    return run(["sh", "-euc", code], directory)


def run_python(code: str, directory: Path) -> str:
    """Return what Python prints."""
    return run([sys.executable, "-c", code], directory)


def run_node(code: str, directory: Path) -> str:
    """Return what Node.js prints."""
    if NODE_MODULES.exists():
        (directory / "node_modules").symlink_to(NODE_MODULES)
    file = directory / "example.mjs"
    file.write_text(code)
    return run(["node", str(file)], directory)


def run(command: list[str], directory: Path) -> str:
    """Return what a program prints; skip if it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    ended = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def run_swift(code: str, _: Path) -> str:
    """Send what the Swift code says, read with simple patterns, and return the answer's id."""
    assert 'let event: [String: Any] = ["event_name": name, "event_params": params]' in code
    assert "request.httpBody = try JSONSerialization.data(withJSONObject: event)" in code
    assert "URLSession.shared.data(for: request)" in code
    (url,) = re.findall(r'URL\(string: "([^"]+)"\)', code)
    (method,) = re.findall(r'httpMethod = "(\w+)"', code)
    headers = {name: value for value, name in re.findall(SWIFT_HEADER, code)}
    (call,) = re.findall(r'try await sendEvent\("(\w+)", (\[.*\])\)', code)
    event = {"event_name": call[0], "event_params": json.loads(f"{{{call[1][1:-1]}}}")}
    answer = requests.request(method, url, headers=headers, json=event, timeout=TIMEOUT_S)
    return str(answer.json()["data"][0]["id"])


SWIFT_HEADER = r'setValue\("([^"]+)", forHTTPHeaderField: "([^"]+)"\)'

SINGLE: dict[str, tuple[Run, str, dict[str, Any]]] = {
    "first-event": (run_shell, "page_view", {"page": "/home"}),
    "curl": (
        run_shell,
        "button_click",
        {"user_id": "12345", "button_id": "signup_btn", "page": "/home"},
    ),
    "javascript": (
        run_node,
        "page_view",
        {"page": "/dashboard", "user_id": "u_123", "session_id": "s_456"},
    ),
    "python": (
        run_python,
        "user_signup",
        {"user_id": "12345", "plan": "premium", "source": "google_ads"},
    ),
    "swift": (run_swift, "app_open", {"device": "iPhone", "version": "2.1.0"}),
    "idempotency-key": (run_shell, "purchase", {"order": 1042}),
}
"""How each runs, and the one event that it stores."""
SDKS: dict[str, Run] = {
    "segment": run_python,
    "rudderstack": run_python,
    "posthog": run_python,
    "amplitude": run_python,
    "openpanel": run_node,
    "umami": run_node,
    "cloudevents": run_shell,
}
"""How each runs; all of them send one event."""
ANSWERS = {"answer", "partial", "error"}
BATCHES = {"batch", "batch-file"}


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The module's: what is left of a test are its events."""
    return shared_server


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """The server's database, with no event of another test's, and no key of one."""
    for table in ("events", "idempotency_keys"):
        query(shared_database_url, f"DELETE FROM {table}")
    return shared_database_url


def stored(url: str) -> list[tuple[str, Any]]:
    """Return the names and parameters of all events, in order."""
    rows = query(url, "SELECT event_name, event_params FROM events ORDER BY id")
    return [(row["event_name"], json.loads(row["event_params"])) for row in rows]


def shape(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value with its leaves replaced by the names of their types; keys in order."""
    if isinstance(value, dict):
        return [(key, shape(one)) for key, one in value.items()]
    if isinstance(value, list):
        return [shape(one) for one in value]
    return type(value).__name__


def test_no_example_is_untested(shared_server: Server) -> None:
    """Each one on the page has its test here or in a browser."""
    tested = {*SINGLE, *SDKS, *ANSWERS, *BATCHES, *IN_BROWSER, "event"}
    assert set(served_page(shared_server).examples) == tested


def test_no_example_has_space_at_its_ends_or_lines_too_long(shared_server: Server) -> None:
    """What is copied is neat."""
    for name, code in served_page(shared_server).examples.items():
        assert code == code.strip(), name
        assert [line for line in code.splitlines() if line != line.rstrip()] == [], name
        assert max(map(len, code.splitlines())) <= 90, name


@pytest.mark.parametrize("name", SINGLE)
def test_example_stores_its_event_and_prints_its_id(
    server: Server, database_url: str, name: str, tmp_path: Path
) -> None:
    """One row, with this name and these parameters."""
    runs, event_name, event_params = SINGLE[name]
    printed = runs(example(server, name), tmp_path)
    assert stored(database_url) == [(event_name, event_params)]
    (row,) = query(database_url, "SELECT id::text AS id FROM events")
    assert row["id"] in printed


@pytest.mark.parametrize("name", SDKS)
def test_sdk_sends_its_event(server: Server, database_url: str, name: str, tmp_path: Path) -> None:
    """Unchanged, with the two lines that the page shows."""
    if SDKS[name] is run_node and not NODE_MODULES.exists():
        pytest.skip("npm ci --prefix tests/node installs the SDKs")
    SDKS[name](example(server, name), tmp_path)
    ((event_name, params),) = stored(database_url)
    assert (event_name, params["plan"]) == ("Order Completed", "pro")


@pytest.mark.parametrize("name", ["javascript", "python"])
def test_example_says_what_is_wrong(server: Server, name: str, tmp_path: Path) -> None:
    """With a wrong key it ends with the server's message."""
    code = example(server, name).replace(server.key, "nk_wrong")
    with pytest.raises(AssertionError, match=r"API key.* is not valid"):
        SINGLE[name][0](code, tmp_path)


def test_example_of_every_field_is_stored_at_its_time_each_time(
    server: Server, database_url: str
) -> None:
    """As it stands on the page: pasted twice it is two events, whose ids carry its timestamp."""
    event = json.loads(example(server, "event"))
    answers = [server.post(event) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    rows = query(database_url, 'SELECT id::text AS id, "timestamp" FROM events')
    assert {row["id"] for row in rows} == {each.json()["data"][0]["id"] for each in answers}
    assert len(rows) == 2
    for row in rows:
        assert row["timestamp"] == datetime.fromisoformat(event["timestamp"])
        milliseconds = int(row["id"].replace("-", "")[:12], 16)
        assert milliseconds == round(row["timestamp"].timestamp() * 1000)


def test_second_try_with_an_idempotency_key_stores_nothing(
    server: Server, database_url: str, tmp_path: Path
) -> None:
    """The answer is the first row, and says so in the header that the page names."""
    code = example(server, "idempotency-key").replace("curl", "curl --silent --include", 1)
    first, second = run_shell(code, tmp_path), run_shell(code, tmp_path)
    assert stored(database_url) == [("purchase", {"order": 1042})]
    assert "Nonito-Duplicate: true" in second
    assert "Nonito-Duplicate" not in first
    assert first.splitlines()[-1] == second.splitlines()[-1]


def test_batch_is_stored_in_order(server: Server, database_url: str, tmp_path: Path) -> None:
    """Both events."""
    answer = json.loads(run_shell(example(server, "batch"), tmp_path))
    assert [row["event_params"]["page"] for row in answer["data"]] == ["/home", "/pricing"]
    assert stored(database_url) == [
        ("page_view", {"page": "/home"}),
        ("page_view", {"page": "/pricing"}),
    ]


def test_compressed_file_is_stored(server: Server, database_url: str, tmp_path: Path) -> None:
    """Every line of events.ndjson; the answer is their number."""
    lines = [json.dumps({"event_name": name, "event_params": params}) for name, params in FILE]
    (tmp_path / "events.ndjson").write_text("\n".join(lines) + "\n")
    answer = json.loads(run_shell(example(server, "batch-file"), tmp_path))
    assert answer == {"status": "success", "count": len(FILE)}
    assert stored(database_url) == FILE


def test_answer_has_the_shape_that_the_page_shows(server: Server) -> None:
    """The same keys in the same order, and the example's own event."""
    shown = json.loads(example(server, "answer"))
    (row,) = shown["data"]
    event = {name: row[name] for name in ("event_name", "event_params")}
    answer = server.post(event).json()
    assert shape(answer) == shape(shown)
    assert answer["data"][0]["event_params"] == row["event_params"]


def test_error_is_the_one_that_the_page_shows(server: Server) -> None:
    """To the letter."""
    answer = server.post({"event_name": "a", "event_params": []})
    assert answer.status_code == 400
    assert answer.json() == json.loads(example(server, "error"))


def test_partial_answer_has_the_shape_that_the_page_shows(server: Server) -> None:
    """And the very error."""
    shown = json.loads(example(server, "partial"))
    (row,) = shown["data"]
    good = {name: row[name] for name in ("event_name", "event_params")}
    answer = requests.post(
        f"{server.url}/events",
        headers={"X-API-Key": server.key},
        json=[good, {"event_name": "a", "event_params": []}],
        timeout=TIMEOUT_S,
    )
    assert answer.status_code == 207
    assert shape(answer.json()) == shape(shown)
    assert answer.json()["errors"] == shown["errors"]


def test_claim_about_respond_async_holds(server: Server, database_url: str) -> None:
    """202 with the header that the page names, and the event is stored."""
    answer = server.post({"event_name": "a"}, Prefer="respond-async")
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    wait_for(lambda: stored(database_url) == [("a", {})])
