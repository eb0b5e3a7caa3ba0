"""An owner takes along what is stored of a person, and has it erased."""

import json
from urllib.parse import urlencode

from ingest.store.accounts import Role
from tests.api.asked import TIMEOUT_S, Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.visitor import Visitor
from tests.support.server import wait_for

EVE = 'eve "<b>" &'


def hidden(page: str, name: str) -> str:
    """Return the value of a field that is not seen."""
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]


def test_owner_exports_and_erases_whom_they_type(
    asked: Asked, apps: Apps, admit: Admit, own_app: str
) -> None:
    """Another's id, or one that was not typed, erases nobody; viewers see no way to it."""
    asked.send(
        {"event_name": "seen", "event_params": {"user_id": EVE, "digits": 1}},
        {"event_name": "seen", "event_params": {"user_id": "ada"}},
        app=own_app,
    )
    owner, member = admit(Role.OWNER, own_app), admit(Role.MEMBER, own_app)
    path = f"/apps/{apps[own_app]}/person"
    query = urlencode({"id": EVE})
    assert f"{path}/erase" in owner.get(f"{path}?{query}").text
    assert f"{path}/erase" not in member.get(f"{path}?{query}").text
    lines = owner.get(f"{path}/export?{query}").text.splitlines()
    (who, event) = (json.loads(line) for line in lines)
    assert (who["kind"], who["ids"]) == ("person", [EVE])
    assert (event["kind"], event["event_params"]) == ("event", {"user_id": EVE, "digits": 1})
    form = owner.get(f"{path}/erase?{query}").text
    assert "1 event" in form
    confirm = hidden(form, "confirm")
    refused = owner.post(f"{path}/erase", id=EVE, confirm=confirm, typed="ada")
    assert refused.status_code == 422
    assert "Nothing is erased" in refused.text
    assert owner.post(f"{path}/erase", id=EVE, confirm="x", typed=EVE).status_code == 422
    erased(owner, path, confirm)
    assert "ada" in owner.get(f"{path}?id=ada").text
    changes = owner.get(f"/apps/{apps[own_app]}/changes").text
    assert "erased a person" in changes
    assert "eve &#34;" not in changes
    assert EVE not in changes


def erased(owner: Visitor, path: str, confirm: str) -> None:
    """Have her erased, and wait until the page says that she is."""
    answer = owner.post(f"{path}/erase", id=EVE, confirm=confirm, typed=EVE)
    assert answer.status_code == 303
    where = answer.headers["Location"]
    wait_for(lambda: "A person was erased" in owner.get(where).text, TIMEOUT_S)
    assert "Refresh" not in owner.get(where).headers
    assert "Nobody is called so" in owner.get(f"{path}?{urlencode({'id': EVE})}").text
