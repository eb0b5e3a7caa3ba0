"""Live: what arrives is told, once, to whoever watches and may see it, and what is not is said."""

import asyncio
import re
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from ingest.dashboard.live.hub import OF_ACCOUNT_MAX
from ingest.store.accounts import Role
from tests.api.asked import TIMEOUT_S, Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.streams import watching
from tests.dashboard.visitor import Visitor, account_id
from tests.support.postgres import fetch
from tests.support.server import wait_for

pytestmark = pytest.mark.slow

VIEWERS = 50


@pytest.fixture
def page(apps: Apps) -> str:
    """Where the events of app `one` arrive."""
    return f"/apps/{apps['one']}/live"


def refused(asked: Asked, body: bytes, key: str) -> None:
    """Send something that is refused."""
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    answer = requests.post(
        f"{asked.server.url}/event", data=body, headers=headers, timeout=TIMEOUT_S
    )
    assert answer.status_code in (400, 401)


def test_event_is_told_once_to_all_who_watch(asked: Asked, page: str, admit: Admit) -> None:
    """As it is stored, with every digit of its numbers; and to nobody of another app."""
    viewer, other = admit(Role.VIEWER), admit(Role.OWNER, "two")
    with watching(viewer, page) as one, watching(viewer, page) as two:
        (sent,) = asked.send(
            {"event_name": "told", "event_params": {"price": 0.10, "big": 10**30 + 1}}
        )
        asked.send({"event_name": "behind"})
        for stream in (one, two):
            found = stream.events_until("behind")
            (event,) = [each for each in found if each["id"] == sent]
            assert str(10**30 + 1) in event["json"]
    assert other.get(page).status_code == 404
    with other.open(f"{page}/stream") as answer:
        assert answer.status_code == 404


def test_filter_chooses_by_name_and_by_parameter(asked: Asked, page: str, admit: Admit) -> None:
    """As the query API does: a number equals its other ways of writing."""
    query = "?event=chosen&where=params.plan:eq:5"
    with watching(admit(Role.VIEWER), page + query) as stream:
        wanted = [
            {"event_name": "chosen", "event_params": {"plan": plan}} for plan in (5.0, "5", 6, None)
        ]
        ids = asked.send(*wanted, {"event_name": "other", "event_params": {"plan": 5}})
        found = stream.until("news", lambda news: news["events"])["events"]
        assert [each["id"] for each in found] == ids[:2]


def test_event_with_a_time_of_its_own_is_told_as_well(
    asked: Asked, page: str, admit: Admit
) -> None:
    """Wherever it lies among the others, from the moment on when the page was loaded."""
    viewer = admit(Role.VIEWER)
    viewer.get(page)
    with watching(viewer, page) as stream:
        asked.send({"event_name": "early", "timestamp": "2026-01-10T12:00:00Z"})
        assert "2026-01-10T12:00:00Z" in stream.event("early")["json"]


def test_more_than_can_be_shown_is_said(asked: Asked, page: str, admit: Admit) -> None:
    """The latest are shown, and of how many; long parameters are not shown either."""
    with watching(admit(Role.VIEWER), f"{page}?event=crowd") as stream:
        asked.send({"event_name": "crowd"})
        stream.event("crowd")  # from here on it is known what is new
        rows = [{"event_name": "crowd", "event_params": {"row": row}} for row in range(60)]
        asked.send(*rows)
        news = stream.until("news", lambda news: news["events"])
        assert [each["pairs"] for each in news["events"]] == [
            [["row", str(row)]] for row in range(40, 60)
        ]
        assert (news["note"], news["more"]) == ("Showing 20 of 60 a second", 40)
        assert stream.until("news", lambda news: not news["events"])["note"] == ""
        asked.send({"event_name": "crowd", "event_params": {"long": "x" * 100_000}})
        event = stream.event("crowd")
        assert "too long" in event["pairs"][0][1]
        assert event["json"] == ""


def test_refusal_is_told_with_its_code_to_whom_it_concerns(
    asked: Asked, page: str, apps: Apps, admit: Admit
) -> None:
    """An app's to its people; one without a valid key to administrators alone."""
    viewer, admin, other = admit(Role.VIEWER), admit(), admit(Role.VIEWER, "two")
    with (
        watching(viewer, page) as mine,
        watching(admin, page) as all_of_it,
        watching(other, f"/apps/{apps['two']}/live") as others,
    ):
        refused(asked, b"{}", "nk_nobodys")
        refused(asked, b'{"event_name": "a"', asked.keys["one"].write)
        refused(asked, b'{"event_name": ""}', asked.keys["two"].write)
        refused(asked, b"[]", asked.keys["one"].write)
        requests.post(
            f"{asked.server.url}/events",
            json=[{"event_name": "batched", "x": 1}],
            headers={"X-API-Key": asked.keys["one"].write},
            timeout=TIMEOUT_S,
        )
        seen = mine.until("news", lambda news: len(news["refused"]) > 0)["refused"]
        while len(seen) < 3:
            seen += mine.until("news", lambda news: news["refused"])["refused"]
        assert [each["code"] for each in seen] == ["invalid_json", "invalid_json", "unknown_field"]
        assert "X-API-Key" in all_of_it.refusal("invalid_api_key")["message"]
        assert others.refusal("invalid_event_name")["is_nobodys"] is False
    shown = [visitor.get(page).text for visitor in (viewer, admin)]
    assert ["invalid_api_key" in text for text in shown] == [False, True]
    assert all("invalid_json" in text for text in shown)
    assert not any("invalid_event_name" in text for text in shown)
    assert "nk_nobodys" not in "".join(shown)


def test_many_watch_at_once_and_cost_one_reading(asked: Asked, page: str, admit: Admit) -> None:
    """One connection reads for all of them, and none when they have gone."""
    with ExitStack() as stack:
        visitors = [admit(Role.VIEWER) for _ in range(VIEWERS // OF_ACCOUNT_MAX + 1)]
        streams = [
            stack.enter_context(watching(visitors[number // OF_ACCOUNT_MAX], page))
            for number in range(VIEWERS)
        ]
        asked.send({"event_name": "seen by all"})
        assert all(stream.event("seen by all") for stream in streams)
        readers: set[int] = set()
        looks = 0
        while looks < 5:
            found = sessions(asked, "query LIKE '%AS scanned%'")
            readers |= found
            looks += bool(found)
        assert len(readers) == 1
    wait_for(lambda: not readers & sessions(asked, "true"), 60)


def sessions(asked: Asked, condition: str) -> set[int]:
    """Return which connections there are of which something is true."""
    sql = f"SELECT pid FROM pg_stat_activity WHERE ({condition}) AND pid <> pg_backend_pid()"
    return {row["pid"] for row in asyncio.run(fetch(asked.database_url, sql))}


def test_account_watches_in_so_many_windows_at_once(page: str, admit: Admit) -> None:
    """One more is told so, and let in when another one has gone."""
    viewer = admit(Role.VIEWER)
    with ExitStack() as stack:
        for _ in range(OF_ACCOUNT_MAX - 1):
            stack.enter_context(watching(viewer, page))
        with watching(viewer, page):
            for method in ("get", "head"):
                answer = viewer.browser.request(
                    method, f"{viewer.url}{page}/stream", timeout=TIMEOUT_S
                )
                assert answer.status_code == 429
        wait_for(lambda: is_let_in(viewer, page), 60)


def is_let_in(viewer: Visitor, page: str) -> bool:
    """Return whether a stream would begin."""
    return viewer.browser.head(f"{viewer.url}{page}/stream", timeout=TIMEOUT_S).status_code == 200


@pytest.mark.parametrize("way", ["signed out", "sent away"])
def test_stream_ends_when_its_viewer_may_not_see_it_any_more(
    asked: Asked, page: str, admit: Admit, way: str
) -> None:
    """Within half a minute, with words; and it does not begin again."""
    viewer, owner = admit(Role.VIEWER), admit(Role.OWNER)
    with watching(viewer, page) as stream:
        cookies = viewer.browser.cookies.copy()
        if way == "signed out":
            assert viewer.post("/sign-out").status_code == 303
        else:
            number = account_id(asked.database_url, viewer.email)
            people = page.replace("live", "people")
            assert owner.post(f"{people}/{number}/remove").status_code == 303
        assert "signed out" in stream.until("over")["text"]
        assert list(stream.messages()) == []
    viewer.browser.cookies.update(cookies)
    with viewer.open(f"{page}/stream") as answer:
        assert answer.status_code in (303, 404)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?where=params.plan", 400),
        ("?where=plan:eq:pro", 400),
        ("?colour=red", 400),
        ("?" + "&".join(f"where=params.a{n}:exists" for n in range(100)), 422),
    ],
)
def test_filter_that_is_none_is_told_so(page: str, admit: Admit, query: str, status: int) -> None:
    """The page, and the stream."""
    viewer = admit(Role.VIEWER)
    assert viewer.get(page + query).status_code == status
    with viewer.open(f"{page}/stream{query}") as answer:
        assert answer.status_code == status


def test_page_has_the_latest_events_without_a_script(asked: Asked, page: str, admit: Admit) -> None:
    """Those that a filter means, too; hostile names are text."""
    hostile = "<script>alert(1)</script>\u202e"
    asked.send({"event_name": hostile, "event_params": {hostile: hostile}})
    viewer = admit(Role.VIEWER)
    text = viewer.get(page).text
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in text
    assert len(re.findall('class="entry"', text)) <= 20
    assert 'class="entry"' not in viewer.get(f"{page}?event=never").text


def test_stream_is_kept_alive_and_by_no_proxy(page: str, admit: Admit) -> None:
    """Something comes every few seconds though nothing happens."""
    with admit(Role.VIEWER).open(f"{page}/stream?event=never") as answer:
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Cache-Control"] == "no-store"
        lines: list[Any] = []
        for line in answer.iter_lines(chunk_size=1):
            lines.append(line)
            if line == b": ":
                break
        assert lines[0].startswith(b"retry: ")
