"""An event in full: found at once wherever it is, and as it was sent."""

import asyncio
import html
import json
import re
import subprocess
from typing import Any
from uuid import UUID, uuid4

import pytest

from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard import reading
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.told import HOSTILE, RANGE, made, stored
from tests.dashboard.visitor import Visitor
from tests.insights.world import Stored
from tests.support.postgres import fetch
from tests.support.server import wait_for

MEAN = "'; touch /tmp/x; echo '$(id)`id`\\\n\r\t\0!!\U000e0001\u2066"


@pytest.fixture(scope="module")
def events(asked: Asked) -> list[Stored]:
    """What the first app has."""
    return stored(asked, made())


@pytest.fixture(scope="module")
def viewer(admit: Admit) -> Visitor:
    """Somebody who may look."""
    return admit(Role.VIEWER)


def shown(viewer: Visitor, apps: Apps, event_id: object, query: str = "") -> dict[str, Any]:
    """Return the JSON that an event's page has."""
    page = viewer.get(f"/apps/{apps['one']}/events/{event_id}{query}")
    assert page.status_code == 200, page.text
    found: dict[str, Any] = json.loads(code(page.text, "json"))
    return found


def code(page: str, name: str) -> str:
    """Return the text of a piece of code."""
    found = re.search(rf'<code id="{name}">(.*?)</code>', page, re.DOTALL)
    assert found
    return html.unescape(found[1])


@pytest.mark.usefixtures("events")
def test_every_row_leads_to_its_event(asked: Asked, apps: Apps, viewer: Visitor) -> None:
    """Which is the API's, to the letter."""
    page = viewer.get(f"/apps/{apps['one']}/explore?{RANGE}")
    answer = {each["id"]: each for each in asked.ask(f"/v1/events?{RANGE}")["events"]}
    links = [
        html.unescape(each) for each in re.findall(r'class="when"><a href="([^"]*)"', page.text)
    ]
    assert len(links) == 50
    for link in links[::10]:
        event = json.loads(code(viewer.get(link).text, "json"))
        assert event == answer[event["id"]]


def test_event_is_found_without_its_time_and_with_a_wrong_one(
    apps: Apps, viewer: Visitor, events: list[Stored]
) -> None:
    """Where somebody types its id, in capitals too."""
    event = events[0]
    for query in ("", "?at=2020-01-01T00:00:00Z"):
        assert shown(viewer, apps, str(event.id).upper(), query)["params"] == event.params


def test_event_that_postgres_has_no_more_is_in_the_archive(
    asked: Asked, apps: Apps, viewer: Visitor
) -> None:
    """With its time or without, one whose client said when it happened as well."""
    sent = [
        {"event_name": "old", "event_params": {"n": n}, "timestamp": f"2026-0{n}-01T00:00:00Z"}
        for n in (1, 2)
    ]
    now = {"event_name": "old", "event_params": {"n": 0}}
    ids = [*asked.send(*sent), *asked.send(now)]
    unarchived = "SELECT 1 FROM events, archive_state WHERE xact >= archive_state.mark"
    wait_for(lambda: not asyncio.run(fetch(asked.database_url, unarchived)), 60)
    gone = "DELETE FROM events WHERE id = ANY ($1::uuid[]) RETURNING id"
    assert len(asyncio.run(fetch(asked.database_url, gone, [UUID(each) for each in ids]))) == 3
    for event_id, n, at in zip(ids, (1, 2, 0), ("2026-01-01T00:00:00Z", "x", "x"), strict=True):
        for query in ("", f"?at={at}" if at != "x" else ""):
            assert shown(viewer, apps, event_id, query)["params"] == {"n": n}


def test_event_of_another_app_or_of_nobody_is_not_there(
    asked: Asked, apps: Apps, viewer: Visitor, admit: Admit
) -> None:
    """To the letter the same."""
    (theirs,) = asked.send({"event_name": "theirs", "event_params": {}}, app="two")
    of_no_year = "ffffffff-ffff-7fff-bfff-ffffffffffff"
    answers = [
        viewer.get(f"/apps/{apps['one']}/events/{each}") for each in (theirs, uuid4(), of_no_year)
    ]
    assert [each.status_code for each in answers] == [404, 404, 404]
    assert len({each.content for each in answers}) == 1
    other = admit(Role.VIEWER, "two")
    assert other.get(f"/apps/{apps['two']}/events/{theirs}").status_code == 200


@pytest.mark.parametrize("query", ["at=x", "day=1", "at=2026-01-01&at=2026-01-02"])
def test_what_is_wrong_with_the_address_is_said(
    apps: Apps, viewer: Visitor, events: list[Stored], query: str
) -> None:
    """As a page."""
    page = viewer.get(f"/apps/{apps['one']}/events/{events[0].id}?{query}")
    assert page.status_code == 400
    assert "be asked so" in page.text


def test_numbers_are_shown_to_the_last_digit(asked: Asked, apps: Apps, viewer: Visitor) -> None:
    """As Postgres has them; the archive's are doubles."""
    (event_id,) = asked.send(
        {"event_name": "digits", "event_params": {"n": 12345678901234567890123, "f": 0.1}}
    )
    page = viewer.get(f"/apps/{apps['one']}/events/{event_id}")
    assert '"n": 12345678901234567890123' in code(page.text, "json")


def test_json_and_command_have_no_character_that_acts(
    asked: Asked, apps: Apps, viewer: Visitor
) -> None:
    """And mean the same: control and direction characters are escapes of JSON."""
    params = {"user_id": HOSTILE, MEAN.replace("\0", ""): [MEAN.replace("\0", ""), HOSTILE]}
    (event_id,) = asked.send({"event_name": HOSTILE, "event_params": params})
    page = viewer.get(f"/apps/{apps['one']}/events/{event_id}").text
    for name in ("json", "curl"):
        assert all(each.isprintable() or each == "\n" for each in code(page, name))
    assert json.loads(code(page, "json"))["params"] == params
    assert "<img" not in page


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_command_sends_the_event_again_whatever_is_in_it(
    asked: Asked, apps: Apps, viewer: Visitor, shell: str
) -> None:
    """Pasted into a shell, with a key put in."""
    mean = MEAN.replace("\0", "")
    sent = {
        "event_name": mean[:40] + HOSTILE,
        "event_params": {mean: mean, "user_id": "u'1", "n": 1},
        "timestamp": "2026-02-03T04:05:06.789Z",
    }
    (event_id,) = asked.send(sent)
    command = code(viewer.get(f"/apps/{apps['one']}/events/{event_id}").text, "curl")
    assert "your-api-key" in command
    command = command.replace("your-api-key", asked.keys["one"].write)
    ran = subprocess.run(
        [shell, "-c", f"{command} -sS"], capture_output=True, timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)["data"][0]
    assert answer["id"] != event_id
    again = shown(viewer, apps, answer["id"])
    assert (again["name"], again["params"]) == (sent["event_name"], sent["event_params"])
    assert again["at"] == "2026-02-03T04:05:06.789000Z"


def test_event_too_long_for_a_command_has_none(asked: Asked, apps: Apps, viewer: Visitor) -> None:
    """But its JSON."""
    (event_id,) = asked.send({"event_name": "long", "event_params": {"text": "x" * 200_000}})
    page = viewer.get(f"/apps/{apps['one']}/events/{event_id}").text
    assert 'id="curl"' not in page
    assert len(json.loads(code(page, "json"))["params"]["text"]) == 200_000


def test_event_leads_to_its_like(apps: Apps, viewer: Visitor, events: list[Stored]) -> None:
    """To those of its person, of its name, and of its time."""
    event = next(each for each in events if each.name == HOSTILE)
    page = viewer.get(f"/apps/{apps['one']}/events/{event.id}")
    person = reading.link(page, "This person\u2019s events")
    assert person
    assert reading.query(person) == {"id": [event.person]}
    name = reading.link(page, "Events of this name")
    assert name
    assert reading.query(name) == {"event": [HOSTILE]}
    around = reading.link(page, "What happened around it")
    assert around
    assert str(event.id) in [row.id for row in reading.rows(viewer.get(around))]
