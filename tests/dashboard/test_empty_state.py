"""A new app leads its people to their first event, and tells them why it does not arrive."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp.test_utils import make_mocked_request

from ingest import config
from ingest.dashboard.ingest_address import IngestAddress
from ingest.errors import StartupError
from ingest.store.accounts import Role
from tests.api.asked import TIMEOUT_S, Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.streams import watching
from tests.dashboard.visitor import Visitor, secret_of
from tests.web.test_examples import run_node, run_python, run_shell

NUMBERS = iter(range(1_000))
PLACEHOLDER = "YOUR_API_KEY"


def new_app(admin: Visitor) -> str:
    """Make an app; return where making it leads."""
    answer = admin.post("/apps", name=f"new {next(NUMBERS)}")
    assert answer.status_code == 303
    return answer.headers["Location"]


def code(page: str, language: str) -> str:
    """Return the lines of a language on a page, as somebody copies them."""
    found = re.search(f'id="code-{language}">(.*?)</code>', page, re.DOTALL)
    assert found
    return html.unescape(re.sub("<[^>]*>", "", found[1]))


@pytest.mark.parametrize(
    ("language", "run"),
    [("curl", run_shell), ("javascript", run_node), ("python", run_python)],
)
def test_lines_run_as_they_are_and_the_event_appears(
    admit: Admit,
    tmp_path: Path,
    language: str,
    run: Any,  # noqa: ANN401 - a function
) -> None:
    """With the key that was made on the page, at the server's real address."""
    admin = admit()
    page = new_app(admin)
    assert PLACEHOLDER in code(admin.get(page).text, language)
    made = admin.post(page)
    secret = secret_of(made)
    lines = code(made.text, language)
    assert secret in lines
    with watching(admin, page) as stream:
        assert "success" in run(lines, tmp_path)
        assert stream.event("page_view")["pairs"] == [["page", "/home"]]
    shown = admin.get(page).text
    assert "Waiting for the first event" not in shown
    assert secret not in shown


def test_swift_lines_have_the_key_and_the_address(asked: Asked, admit: Admit) -> None:
    """They are run nowhere here."""
    admin = admit()
    made = admin.post(new_app(admin))
    lines = code(made.text, "swift")
    assert secret_of(made) in lines
    assert f"{asked.server.url}/event" in lines


def test_key_that_there_is_can_not_be_shown_again(admit: Admit) -> None:
    """Another one can be made."""
    admin = admit()
    page = new_app(admin)
    assert "be shown again: put" not in admin.get(page).text
    first = secret_of(admin.post(page))
    shown = admin.get(page).text
    assert "be shown again: put" in shown
    assert first not in shown
    assert secret_of(admin.post(page)) != first


def test_viewer_makes_no_key(admit: Admit, apps: Apps) -> None:
    """And is told whom to ask."""
    page = f"/apps/{apps['two']}/live"
    viewer = admit(Role.VIEWER, "two")
    shown = viewer.get(page).text
    assert "Ask a member of this app" in shown
    assert "Make a" not in shown
    assert viewer.post(page).status_code == 403


def test_refusal_is_shown_where_the_first_event_is_waited_for(asked: Asked, admit: Admit) -> None:
    """In the words of the answer, with what to do."""
    admin = admit()
    page = new_app(admin)
    secret = secret_of(admin.post(page))
    with watching(admin, page) as stream:
        answer = requests.post(
            f"{asked.server.url}/event",
            data="{'event_name': 'a'}",
            headers={"X-API-Key": secret, "Content-Type": "application/json"},
            timeout=TIMEOUT_S,
        )
        refusal = stream.refusal("invalid_json")
        assert refusal["message"] == answer.json()["error"]["message"]
        assert "single quotes" in refusal["advice"]
    shown = admin.get(page).text
    assert "invalid_json" in shown
    assert "Waiting for the first event" in shown


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("events.example.com", "http://events.example.com:8080"),
        ("events.example.com:8081", "http://events.example.com:8080"),
        ("[::1]:8081", "http://[::1]:8080"),
        ("[::1]", "http://[::1]:8080"),
        ('x"><script>', "http://localhost:8080"),
    ],
)
def test_address_is_the_server_s_port_at_the_host_that_was_asked(host: str, expected: str) -> None:
    """Unless the operator says another one; by unix sockets alone there is none."""
    request = make_mocked_request("GET", "/", {"Host": host})
    assert IngestAddress("", 8080).of(request) == expected
    assert IngestAddress("https://in.example.com/", 8080).of(request) == "https://in.example.com"
    assert IngestAddress("", None).of(request) is None


@pytest.mark.parametrize("url", ["events.example.com", "ftp://a", "http://a b", "http://a';b"])
def test_address_that_is_none_stops_the_start(url: str) -> None:
    """With one line that names the key."""
    with pytest.raises(StartupError, match=r"dashboard\.ingest_url"):
        config.load(None, {"NONITO_DASHBOARD_INGEST_URL": url, "NONITO_CONFIG": ""}, {})
