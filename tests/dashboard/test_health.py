"""The page of the server's health: true figures, and there when nothing else is."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from ingest.store.accounts import Role
from ingest.store.cluster import Cluster
from ingest.store.sign_in_links import Link
from tests.api.asked import Asked, asked_server
from tests.conftest import OWN_DATABASE
from tests.dashboard.conftest import Admit
from tests.dashboard.visitor import Visitor
from tests.support.postgres import kill, pause, resume
from tests.support.server import wait_for

pytestmark = pytest.mark.slow

AWAY = "Postgres can&#39;t be written to"
WELL = "All is well"
CHANGING = {"nonito_connections_open", "nonito_postgres_connections"}
"""They are others when a scrape looks."""


@pytest.fixture
def own(own_cluster: Cluster, tmp_path: Path) -> Iterator[Asked]:
    """A server of the test's own, whose Postgres it may stop."""
    with asked_server(own_cluster.url(OWN_DATABASE), tmp_path) as running:
        yield running


def administrator(asked: Asked, email: str = "ada@example.com") -> Visitor:
    """Return an administrator of a server."""
    return Visitor(asked.url).join(asked.database_url, Link(), email)


def figures(page: str) -> dict[str, float]:
    """Return what a page tells, by the names of its metrics."""
    found = re.findall(r'data-metric="([^"]+)">([0-9,-]+)<', page)
    return {name: float(number.replace(",", "")) for name, number in found}


def test_figures_are_those_of_metrics(asked: Asked, admit: Admit) -> None:
    """To the last event, and the refusals by their codes."""
    admin = admit()
    asked.send({"event_name": "sale"}, {"event_name": "sale"})
    requests.post(
        f"{asked.server.url}/event",
        json={"nothing": 1},
        headers={"X-API-Key": asked.keys["one"].write},
        timeout=30,
    )

    def told() -> dict[str, float]:
        return figures(admin.get("/health").text)

    wait_for(lambda: told().get("nonito_events_refused_total{missing_event_name}") == 1)
    wait_for(lambda: told()["nonito_events_committed_total"] == 2)
    wait_for(lambda: told()["nonito_archive_events"] == 2, timeout_s=30)
    scraped = asked.server.metrics()
    shown = {name: value for name, value in told().items() if name not in CHANGING}
    assert len(shown) > 15
    assert shown == {name: scraped[name] for name in shown}


def test_all_is_well_in_one_sentence(admit: Admit) -> None:
    """And nothing is listed then."""
    page = admit().get("/health").text
    assert WELL in page
    assert 'class="finding' not in page


def test_administrators_are_led_there(admit: Admit) -> None:
    """Others are not, and find nothing there."""
    assert 'href="/health"' in admit().get("/apps").text
    owner = admit(Role.OWNER)
    assert 'href="/health"' not in owner.get("/apps").text
    assert owner.get("/health").status_code == 404


@pytest.mark.parametrize("stop", [kill, pause], ids=["killed", "hung"])
def test_page_is_there_while_postgres_is_not(
    own: Asked, own_cluster: Cluster, stop: Callable[[Cluster], None]
) -> None:
    """For who was seen before; it says what that means, what is missing, and what is kept."""
    admin = administrator(own)
    assert WELL in admin.get("/health").text
    stop(own_cluster)
    key = {"X-API-Key": own.keys["one"].write}
    event = {"event_name": "during"}
    answer = requests.post(f"{own.server.url}/event", json=event, headers=key, timeout=30)
    assert answer.status_code == 202
    wait_for(lambda: AWAY in admin.get("/health").text, timeout_s=30)
    page = admin.get("/health")
    assert page.status_code == 200
    assert "kept on disk until it is back: clients get a 202" in page.text
    assert "What Postgres says of itself is missing here" in page.text
    wait_for(lambda: figures(admin.get("/health").text)["nonito_spool_events"] == 1, 30)
    assert admin.get("/apps").status_code == 503
    resume(own_cluster)
    own_cluster.start()
    wait_for(lambda: "Version" in (text := admin.get("/health").text) and AWAY not in text, 30)
    wait_for(lambda: figures(admin.get("/health").text)["nonito_spool_events"] == 0, 30)


def test_while_postgres_is_away_nobody_is_let_in_who_would_not_be_else(
    own: Asked, own_cluster: Cluster
) -> None:
    """Neither who was never seen, nor who has signed out, nor who is no administrator."""
    stays = administrator(own)
    gone = administrator(own, "bob@example.com")
    assert gone.get("/health").status_code == 200
    cookies = gone.browser.cookies.get_dict()
    assert gone.post("/sign-out").status_code == 303
    gone.browser.cookies.update(cookies)
    forged = Visitor(own.url)
    forged.browser.cookies.update({"nonito_session": "A" * 43})
    owner = administrator(own, "eve@example.com")
    app_page = stays.get("/apps").text
    found = re.search(r"/apps/(\d+)/live", app_page)
    assert found
    invitation = re.search(
        r"/welcome/[A-Za-z0-9_-]+", stays.post(f"/apps/{found[1]}/people/invite", role="owner").text
    )
    assert invitation
    member = Visitor(own.url)
    member.post(invitation[0], email="m@example.com", password="correct horse battery")
    assert member.get("/apps").status_code == 200
    assert [each.get("/health").status_code for each in (stays, owner)] == [200, 200]
    kill(own_cluster)
    wait_for(lambda: AWAY in stays.get("/health").text, timeout_s=30)
    statuses = [
        each.get("/health").status_code for each in (gone, forged, member, Visitor(own.url))
    ]
    assert statuses == [503, 503, 404, 303]


def test_sessions_ended_elsewhere_in_the_account_are_not_good_either(
    own: Asked, own_cluster: Cluster
) -> None:
    """Who signs out everywhere else has done so, whatever becomes of Postgres then."""
    here = administrator(own)
    there = Visitor(own.url)
    assert there.sign_in(here.email).status_code == 303
    assert there.get("/health").status_code == 200
    assert here.post("/account/sessions/end-others").status_code == 303
    assert here.get("/health").status_code == 200
    kill(own_cluster)
    wait_for(lambda: AWAY in here.get("/health").text, timeout_s=30)
    assert there.get("/health").status_code == 503
