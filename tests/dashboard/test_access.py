"""All routes as all identities: what somebody may not see is not there."""

import re

import pytest

from ingest.dashboard.routes import Access, Route
from ingest.dashboard.site import ROUTES
from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.visitor import Visitor

IDENTITIES = ("nobody", "stranger", "viewer", "member", "owner", "admin")
NEEDED = {
    Access.ANYBODY: 0,
    Access.SIGNED_IN: 1,
    Access.VIEWER: 2,
    Access.MEMBER: 3,
    Access.OWNER: 4,
    Access.ADMIN: 5,
}
NO_SUCH_NUMBER = "999999"
NO_SUCH_ID = "01a22abd-b761-701f-8eac-27e762e50a24"


def path_of(route: Route, app: int) -> str:
    """Return a path of a route: of this app, and else of nothing that there is."""
    filled = route.path.replace("{app}", str(app)).replace("{number}", NO_SUCH_NUMBER)
    filled = filled.replace("{kind}", "write").replace("{token}", "A" * 43)
    return filled.replace("{id}", NO_SUCH_ID)


@pytest.fixture(scope="module")
def people(asked: Asked, admit: Admit) -> dict[str, Visitor]:
    """One of each; the stranger owns another app."""
    return {
        "nobody": Visitor(asked.url),
        "stranger": admit(Role.OWNER, "two"),
        "viewer": admit(Role.VIEWER),
        "member": admit(Role.MEMBER),
        "owner": admit(Role.OWNER),
        "admin": admit(),
    }


def ask(visitor: Visitor, route: Route, app: int) -> tuple[int, str]:
    """Return the status of an answer, and where it leads."""
    path = path_of(route, app)
    with visitor.open(path) if route.method == "GET" else visitor.post(path) as answer:
        return answer.status_code, answer.headers.get("Location", "")


def expected(identity: str, route: Route) -> str:
    """Return what somebody may expect of a route."""
    rank = IDENTITIES.index(identity)
    if rank >= NEEDED[route.access]:
        return "let in"
    if identity == "nobody":
        return "asked who it is"
    if identity in ("viewer", "member") and route.access.role is not None:
        return "told whom to ask"
    return "nothing there"


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_route_lets_in_whom_it_says(
    people: dict[str, Visitor], apps: Apps, admit: Admit, route: Route, identity: str
) -> None:
    """Whoever may not see an app can't tell whether there is one; its people are told more."""
    visitor = people[identity]
    if route.path == "/sign-out" and identity != "nobody":
        visitor = admit()
    status, to = ask(visitor, route, apps["one"])
    match expected(identity, route):
        case "let in":
            is_of_something = re.search(r"\{(number|token|id)\}", route.path)
            assert status in ({404, 410, 422} if is_of_something else {200, 303, 401, 422})
            assert to != "/sign-in" or route.path == "/sign-out"
        case "asked who it is":
            assert (status, to) == (303, "/sign-in")
        case "told whom to ask":
            assert status == 403
        case "nothing there":
            assert status == 404


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_app_of_others_is_like_one_that_is_not_there(
    people: dict[str, Visitor], apps: Apps, route: Route
) -> None:
    """To the letter."""
    if "{app}" not in route.path:
        return
    stranger = people["stranger"]
    answers = [
        stranger.get(path) if route.method == "GET" else stranger.post(path)
        for path in (path_of(route, apps["one"]), path_of(route, 999_999))
    ]
    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].content == answers[1].content


def test_list_of_apps_is_of_one_s_own(people: dict[str, Visitor]) -> None:
    """An administrator's is of all."""
    shown = {
        name: set(re.findall(r"<b>(one|two)</b>", people[name].get("/apps").text))
        for name in ("stranger", "viewer", "admin")
    }
    assert shown == {"stranger": {"two"}, "viewer": {"one"}, "admin": {"one", "two"}}


def test_role_that_is_taken_away_is_gone_at_once(admit: Admit, apps: Apps) -> None:
    """With the next page."""
    owner, member = admit(Role.OWNER), admit(Role.MEMBER)
    page = f"/apps/{apps['one']}/people"
    row = owner.get(page).text.partition(member.email)[2]
    found = re.search(r"/people/(\d+)/remove", row)
    assert found
    assert member.get(page).status_code == 200
    assert owner.post(f"{page}/{found[1]}/role", role="viewer").status_code == 303
    assert member.get(page).status_code == 403
    assert owner.post(f"{page}/{found[1]}/remove").status_code == 303
    assert member.get(page).status_code == 404
    assert member.get("/apps").status_code == 200
