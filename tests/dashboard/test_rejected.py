"""Rejected events in the dashboard: read, mended, stored once, dropped; one's own alone."""

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import unescape
from urllib.parse import quote

import pytest
import requests

from ingest.delivery.events_table import EVENTS
from ingest.store import rejected
from ingest.store.accounts import Role
from ingest.store.rejected import Rejected
from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.visitor import Visitor
from tests.store.events import changed, make_rejected
from tests.support.command import Nonito, run_here
from tests.support.postgres import fetch, make_postgres
from tests.support.server import wait_for

RULE = "ALTER TABLE events ADD CONSTRAINT no_bad CHECK (event_name <> 'bad') NOT VALID"
NO_RULE = "ALTER TABLE events DROP CONSTRAINT IF EXISTS no_bad"
HOSTILE = "</textarea><img src=x onerror=alert(1)>\u202e{{7*7}}'\"\r\n\x1b[2J"


@pytest.fixture(autouse=True)
def _rule(asked: Asked) -> Iterator[None]:
    """Postgres refuses events of the name `bad`; none is rejected so far."""
    execute(asked, "DELETE FROM rejected_events")
    execute(asked, NO_RULE)
    execute(asked, RULE)
    yield
    execute(asked, NO_RULE)


@pytest.fixture
def nonito(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """The command, in this process."""
    return run_here(monkeypatch, capfd)


@pytest.fixture
def member(admit: Admit) -> Visitor:
    """A member of the app `one`."""
    return admit(Role.MEMBER)


@pytest.fixture
def page(apps: Apps) -> str:
    """Where its rejected events are."""
    return f"/apps/{apps['one']}/rejected"


def execute(asked: Asked, sql: str, *arguments: object) -> list[tuple[object, ...]]:
    """Run a statement in the server's database."""
    return [tuple(row) for row in asyncio.run(fetch(asked.database_url, sql, *arguments))]


def reject(asked: Asked) -> str:
    """Have an event acknowledged that Postgres refuses then; return its id."""
    answer = requests.post(
        f"{asked.server.url}/event",
        json={"event_name": "bad", "event_params": {"n": 1}},
        headers={"X-API-Key": asked.keys["one"].write},
        timeout=30,
    )
    assert answer.status_code == 202
    event_id = str(answer.json()["data"][0]["id"])
    there = "SELECT FROM rejected_events WHERE id = $1"
    wait_for(lambda: execute(asked, there, event_id), timeout_s=30)
    return event_id


def keep(asked: Asked, *events: Rejected) -> None:
    """Keep rejected events, without Postgres."""

    async def work() -> None:
        async with make_postgres(asked.database_url).session() as connection:
            await rejected.add(connection, EVENTS, events)

    asyncio.run(work())


def kept(asked: Asked) -> int:
    """Return how many are rejected."""
    ((count,),) = execute(asked, "SELECT count(*) FROM rejected_events")
    assert isinstance(count, int)
    return count


def stored(asked: Asked, event_id: str) -> list[tuple[object, ...]]:
    """Return the names and parameters of an event, as often as it is stored."""
    sql = "SELECT event_name, event_params::text FROM events WHERE id = $1"
    return execute(asked, sql, event_id)


def changes(asked: Asked) -> list[tuple[object, ...]]:
    """Return what was noted of the last changes, the latest first."""
    return execute(asked, "SELECT action, object FROM audit_log ORDER BY id DESC LIMIT 5")


def form_of(text: str) -> dict[str, str]:
    """Return what the form of an event's page sends if it is not touched, as a browser does."""
    name = re.search(r'name="name" value="([^"]*)"', text)
    params = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", text, re.DOTALL)
    assert name is not None
    assert params is not None
    return {"name": unescape(name[1]), "params": unescape(params[1]).replace("\n", "\r\n")}


@pytest.mark.not_on_citus("Citus passes on no name of a CHECK")
def test_event_that_postgres_refuses_is_mended_and_stored_once(
    asked: Asked, member: Visitor, page: str
) -> None:
    """Acknowledged, refused, explained, mended, stored under its own id; each step is noted."""
    event_id = reject(asked)
    listed = member.get(page).text
    assert f'href="{page}/{event_id}"' in listed
    assert "1 rejected event." in listed
    shown = member.get(f"{page}/{event_id}").text
    assert "a constraint refuses it, SQLSTATE 23514" in shown
    assert "constraint no_bad" in shown
    assert "keeps the rule" in shown
    mended = {"name": "good", "params": '{"n": 2}', "then": "retry"}
    answer = member.post(f"{page}/{event_id}/mend", **mended)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{page}?became=stored")
    assert "It is stored now." in member.get(answer.headers["Location"]).text
    assert stored(asked, event_id) == [("good", '{"n": 2}')]
    assert kept(asked) == 0
    noted = [("retried a rejected event", event_id), ("mended a rejected event", event_id)]
    assert changes(asked)[:2] == noted
    assert member.post(f"{page}/{event_id}/retry").status_code == 404
    assert len(stored(asked, event_id)) == 1


@pytest.mark.not_on_citus("Citus passes on no name of a CHECK")
def test_event_that_is_refused_again_stays_with_the_reason_of_now(
    asked: Asked, member: Visitor, page: str
) -> None:
    """Which rule it is that refuses it may have changed."""
    event_id = reject(asked)
    execute(asked, "UPDATE rejected_events SET broken_constraint = 'old', message = 'old'")
    answer = member.post(f"{page}/{event_id}/retry")
    assert answer.headers["Location"] == f"{page}/{event_id}?became=refused"
    shown = member.get(answer.headers["Location"]).text
    assert "refused it again" in shown
    assert "constraint no_bad" in shown
    assert "old" not in re.findall(r"<code>(.*?)</code>", shown)
    assert (kept(asked), stored(asked, event_id)) == (1, [])


def test_event_is_dropped_behind_a_question_only(asked: Asked, member: Visitor, page: str) -> None:
    """To look at the question does nothing."""
    event_id = reject(asked)
    assert "for good?" in member.get(f"{page}/{event_id}/drop").text
    assert kept(asked) == 1
    answer = member.post(f"{page}/{event_id}/drop")
    assert answer.headers["Location"] == f"{page}?became=dropped"
    assert (kept(asked), stored(asked, event_id)) == (0, [])
    assert changes(asked)[0] == ("dropped a rejected event", event_id)
    assert member.post(f"{page}/{event_id}/drop").status_code == 404


def test_event_of_another_app_is_not_there(
    asked: Asked, member: Visitor, page: str, apps: Apps
) -> None:
    """Though it has the same id as one's own, nothing happens to it."""
    of_two = changed(make_rejected(name="two's"), app_id=apps["two"])
    alone = changed(make_rejected(name="alone"), app_id=apps["two"])
    keep(asked, of_two, alone, changed(of_two, app_id=apps["one"], event_name="one's"))
    for way in ("", "/drop"):
        assert member.get(f"{page}/{alone.id}{way}").status_code == 404
    for way in ("mend", "retry", "drop"):
        answer = member.post(f"{page}/{alone.id}/{way}", name="x", params="{}")
        assert answer.status_code == 404
    assert "alone" not in member.get(page).text
    assert "two&#39;s" not in member.get(f"{page}/{of_two.id}").text
    mended = member.post(f"{page}/{of_two.id}/mend", name="mine", params="{}", then="retry")
    assert mended.headers["Location"] == f"{page}?became=stored"
    left = execute(asked, "SELECT event_name, app_id FROM rejected_events ORDER BY 1")
    assert left == [("alone", apps["two"]), ("two's", apps["two"])]


def test_page_and_command_that_retry_at_once_store_it_once(
    asked: Asked, member: Visitor, page: str, apps: Apps, nonito: Nonito
) -> None:
    """Both say what became of it; the slower one finds it gone."""
    command = partial(nonito, "--database-url", asked.database_url, "rejected", "retry")
    for _ in range(5):
        event = changed(make_rejected(), app_id=apps["one"])
        keep(asked, event)
        with ThreadPoolExecutor() as pool:
            clicked = pool.submit(member.post, f"{page}/{event.id}/retry")
            command(str(event.id))
            assert clicked.result().status_code in (303, 404)
        assert len(stored(asked, str(event.id))) == 1
        assert kept(asked) == 0


def test_all_are_tried_in_parts_and_what_is_refused_blocks_nothing(
    asked: Asked, member: Visitor, page: str, apps: Apps
) -> None:
    """It says how many are left; those of another app stay where they are."""
    names = ["bad" if number % 2 else "good" for number in range(130)]
    events = [changed(make_rejected(name=name), app_id=apps["one"]) for name in names]
    keep(asked, *events, changed(make_rejected(), app_id=apps["two"]))
    text, tried = member.post(f"{page}/retry").text, 0
    while found := re.search(r'name="after" value="([^"]*)"', text):
        now = sum(int(n) for n in re.findall(r'class="figure">(\d+)<', text))
        assert 0 < now <= 100
        tried += now
        assert f"{130 - tried} event{'s' if tried < 129 else ''} not tried yet" in text
        text = member.post(f"{page}/retry", after=found[1]).text
    assert "All were tried." in text
    left = execute(asked, "SELECT app_id, count(*)::int FROM rejected_events GROUP BY 1 ORDER BY 1")
    assert left == sorted([(apps["one"], 65), (apps["two"], 1)])
    ids = [str(each.id) for each in events]
    ((stored_now,),) = execute(asked, "SELECT count(*)::int FROM events WHERE id = ANY($1)", ids)
    assert stored_now == 65


def test_form_that_was_not_touched_changes_nothing(
    asked: Asked, member: Visitor, page: str, apps: Apps
) -> None:
    """Whatever a client has sent, and whatever a browser makes of line breaks."""
    params = '{"a":\n"\u202e\u0007\U000e0001"}'
    event = changed(make_rejected(params, name=HOSTILE, message=HOSTILE), app_id=apps["one"])
    keep(asked, event)
    text = member.get(f"{page}/{event.id}").text
    assert "<img" not in text
    assert not set("\u202e\x1b\u0007") & set(text)
    sent = form_of(text)
    refused = member.post(f"{page}/{event.id}/mend", **sent)
    assert refused.status_code == 422  # a bell is no JSON
    params = params.replace("\u0007", "")
    execute(asked, "UPDATE rejected_events SET event_params = $1", params)
    sent = form_of(member.get(f"{page}/{event.id}").text)
    assert json.loads(sent["params"]) == json.loads(params)
    assert member.post(f"{page}/{event.id}/mend", **sent).status_code == 303
    left = execute(asked, "SELECT event_name, event_params FROM rejected_events")
    assert left == [(HOSTILE, params)]


NO_EVENTS = {
    "no JSON": '{"a": ',
    "no object": "[1]",
    "null": "null",
    "nothing": "",
    "U+0000": '{"a": "\\u0000"}',
    "a number that nobody can use": '{"a": 1e9999}',
    "another field": '{}, "id": "01a20775-3827-7f9a-a84b-77c69c54c242"',
    "a name beside it": '{}, "event_name": "other"',
    "the end of the event": '{}} {"b": {}',
}


@pytest.mark.parametrize("params", NO_EVENTS.values(), ids=NO_EVENTS)
def test_what_no_client_could_send_is_not_saved(
    asked: Asked, member: Visitor, page: str, apps: Apps, params: str
) -> None:
    """The page says why, and has what was typed."""
    event = changed(make_rejected('{"old": 1}'), app_id=apps["one"])
    keep(asked, event)
    answer = member.post(f"{page}/{event.id}/mend", name="new", params=params)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert form_of(answer.text) == {"name": "new", "params": params}
    assert execute(asked, "SELECT event_name, event_params FROM rejected_events") == [
        ("test", '{"old": 1}')
    ]


def test_event_may_be_as_large_as_any_and_no_larger(
    asked: Asked, member: Visitor, page: str, apps: Apps
) -> None:
    """A form four times as large in the sending; other forms stay small."""
    event = changed(make_rejected(), app_id=apps["one"])
    keep(asked, event)
    large = json.dumps({"text": "ä{}" * 170_000}, ensure_ascii=False)
    assert 3 * 65536 < len(quote(large)) < 3 * 1024 * 1024
    mended = member.post(f"{page}/{event.id}/mend", name="large", params=large, then="retry")
    assert mended.headers["Location"] == f"{page}?became=stored"
    ((name, params),) = stored(asked, str(event.id))
    assert name == "large"
    assert json.loads(str(params)) == json.loads(large)
    keep(asked, changed(event, event_name="again"))
    too_large = json.dumps({"text": "a" * 1024 * 1024})
    answer = member.post(f"{page}/{event.id}/mend", name="x", params=too_large)
    assert answer.status_code == 422
    answer = member.post(f"{page}/{event.id}/mend", name="x", params="ä" * 750_000)
    assert answer.status_code == 413
    assert member.post(f"{page}/{event.id}/retry", filler="a" * 70_000).status_code == 413


def test_list_has_pages_and_no_parameters(
    asked: Asked, member: Visitor, page: str, apps: Apps
) -> None:
    """Fifty on each, the newest first, none twice and none left out."""
    events = [
        changed(make_rejected('{"secret": "parameter"}', name=f"n{n}"), app_id=apps["one"])
        for n in range(101)
    ]
    keep(asked, *events)
    found, path = list[str](), page
    while path:
        text = member.get(path).text
        assert "parameter&#34;" not in text
        ids = re.findall(rf'href="{page}/([0-9a-f-]{{36}})"', text)
        assert len(ids) <= 50
        found += ids
        more = re.search(r'href="(\?before=[0-9a-f-]+)"', text)
        path = f"{page}{more[1]}" if more else ""
    assert found == sorted((str(each.id) for each in events), reverse=True)
    assert member.get(f"{page}?before=nonsense").status_code == 404


def test_viewer_is_told_whom_to_ask(admit: Admit, page: str) -> None:
    """Names and parameters are a viewer's to see, what was refused is a member's to mend."""
    assert admit(Role.VIEWER).get(page).status_code == 403


def test_health_counts_them_by_app(asked: Asked, admit: Admit, apps: Apps) -> None:
    """And says of those whose app is gone where they are found."""
    keep(
        asked, changed(make_rejected(), app_id=apps["two"]), changed(make_rejected(), app_id=9_999)
    )
    admin = admit()
    text = admin.get("/health").text
    assert f'<a href="/apps/{apps["two"]}/rejected">two</a> · 1' in text
    assert "of an app that is gone" in text
    told = "2 acknowledged events refused by Postgres wait for somebody"
    wait_for(lambda: told in admin.get("/health").text, timeout_s=40)
