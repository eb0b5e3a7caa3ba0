"""A person's page has their events, each once, by day, and nobody else's."""

import html
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard import reading
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.told import HOSTILE, made, stored
from tests.dashboard.visitor import Visitor
from tests.insights.world import Stored

ODD = ("5", "5.0", "..", "a/b?c#d%2F e&=+", HOSTILE, "=1+1", 'x|"y"', "x" * 1_000)
_EVENT = re.compile(r"/events/([0-9a-f-]{36})")


@pytest.fixture(scope="module")
def events(asked: Asked) -> list[Stored]:
    """What the first app has: of seven people, and of one who did more than a page holds."""
    mine = [
        {
            "event_name": "step",
            "event_params": {"user_id": "busy", "n": n},
            "timestamp": f"2026-03-{2 + n // 30:02}T{n % 24:02}:00:00Z",
        }
        for n in range(130)
    ]
    return stored(asked, [*made(), *mine])


@pytest.fixture(scope="module")
def viewer(admit: Admit) -> Visitor:
    """Somebody who may look."""
    return admit(Role.VIEWER)


def path(apps: Apps, **query: str) -> str:
    """Return a person's address."""
    return f"/apps/{apps['one']}/person{f'?{urlencode(query)}' if query else ''}"


def pages(viewer: Visitor, address: str | None) -> list[str]:
    """Return all pages of a person."""
    found = []
    while address is not None:
        page = viewer.get(address)
        assert page.status_code == 200
        found.append(page.text)
        address = reading.link(page, "Older")
    return found


def test_pages_have_each_event_of_the_person_once_by_day(
    asked: Asked, apps: Apps, viewer: Visitor, events: list[Stored]
) -> None:
    """The latest first, as `/v1/people` has them."""
    found = pages(viewer, path(apps, id="busy"))
    ids = [each for page in found for each in _EVENT.findall(page)]
    mine = sorted((e for e in events if e.person == "busy"), key=lambda e: e.place, reverse=True)
    assert ids == [str(each.id) for each in mine]
    assert ids == [e["id"] for e in asked.ask("/v1/people/busy/events?limit=1000")["events"]]
    assert len(found) == 3
    days = [day for page in found for day in re.findall(r"<h2>(2026-\d\d-\d\d), \w+day</h2>", page)]
    assert list(dict.fromkeys(days)) == [f"2026-03-0{n}" for n in (6, 5, 4, 3, 2)]


def test_first_page_says_when_they_were_seen(
    apps: Apps, viewer: Visitor, events: list[Stored]
) -> None:
    """First as well, where that is on it."""
    few = reading.text(viewer.get(path(apps, id="u1")).text)
    mine = sorted(each.at for each in events if each.person == "u1")
    assert f"Last seen {mine[-1]:%Y-%m-%d %H:%M:%S}.000 UTC" in few
    assert f"First seen {mine[0]:%Y-%m-%d %H:%M:%S}.000 UTC" in few
    first, *_, last = pages(viewer, path(apps, id="busy"))
    assert "Last seen" in first
    assert "First seen" not in first
    assert "Last seen" not in last


def test_count_of_the_last_thirty_days_is_the_api_s(
    asked: Asked, apps: Apps, viewer: Visitor
) -> None:
    """And its bars lead to those events."""
    now = datetime.now(UTC)
    asked.send(
        *(
            {
                "event_name": "late",
                "event_params": {"user_id": 'z|"y"'},
                "timestamp": (now - timedelta(days=days)).isoformat(),
            }
            for days in (0, 1, 1, 2, 40)
        )
    )
    page = viewer.get(path(apps, id='z|"y"'))
    where = urlencode({"where": 'person:eq:"z|""y"""'})
    (series,) = asked.ask(f"/v1/trends?last=30d&{where}")["series"]
    assert reading.total(page) == series["total"] == 4
    bars = reading.bars(page)
    assert [count for _, count, _ in bars] == series["values"]
    _, count, link = next(bar for bar in bars if bar[1] == 2)
    assert reading.total(viewer.get(link)) == count
    explore = reading.link(page, "Explore these events")
    assert explore
    assert reading.total(viewer.get(explore)) == 4


@pytest.mark.parametrize("person", ODD)
def test_person_may_be_called_anything(
    asked: Asked, apps: Apps, viewer: Visitor, person: str
) -> None:
    """From the row of an event to the page of who did it."""
    day = f"2026-01-{1 + ODD.index(person):02}"
    event = {
        "event_name": "odd",
        "event_params": {"user_id": person},
        "timestamp": f"{day}T00:00:00Z",
    }
    (event_id,) = asked.send(event)
    rows = viewer.get(f"/apps/{apps['one']}/explore?event=odd&from={day}&to={day}T01:00:00Z")
    (link,) = re.findall(r'<td class="whose"><a href="([^"]*)"', rows.text)
    page = viewer.get(html.unescape(link))
    assert _EVENT.findall(page.text) == [event_id]
    assert "<img" not in page.text
    assert "\u202e" not in page.text


def test_page_of_an_id_that_was_joined_says_whose_it_is(
    asked: Asked, apps: Apps, viewer: Visitor
) -> None:
    """With the events of all of their ids, under each of these."""
    visitor = f"{HOSTILE} visitor"
    ids = asked.send(
        {"event_name": "visit", "event_params": {"$anonymous_id": visitor}},
        {"event_name": "in", "event_params": {"$anonymous_id": visitor, "$user_id": "<b>ada"}},
    )
    anonymous, known = (viewer.get(path(apps, id=each)).text for each in (visitor, "<b>ada"))
    for page in (anonymous, known):
        assert sorted(_EVENT.findall(page)) == sorted(ids)
        assert "<b>ada" not in page
    link = re.search(r'<p class="joined">[^<]*<a href="([^"]*)"', anonymous)
    assert link is not None
    assert viewer.get(html.unescape(link[1])).text.count('class="what"') == len(ids)
    assert 'class="joined"' not in known


def test_nobody_is_told_apart_from_a_mistake(apps: Apps, viewer: Visitor) -> None:
    """A name that nobody has is said to be none; one that nobody can have is refused."""
    assert "Nobody is called so" in viewer.get(path(apps, id="nobody")).text
    asking = viewer.get(path(apps))
    assert (asking.status_code, "Whose events?" in asking.text) == (200, True)
    for query, told in (
        ({"id": "x" * 1_001}, "id: it has 1,000 characters at most"),
        ({"id": "u1", "before": "x"}, "before: write a day"),
        ({"id": "u1", "event": "view"}, "event: there is no such parameter"),
    ):
        page = viewer.get(path(apps, **query))
        assert (page.status_code, told in page.text) == (400, True)
