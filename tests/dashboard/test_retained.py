"""A server that keeps 30 days in Postgres and all in the archive: what is asked, shown and set."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ingest.store.accounts import Role
from ingest.store.periods import name_of, period_of
from tests.api.asked import Asked, asked_server
from tests.dashboard.conftest import Admit, Apps
from tests.store import retained
from tests.support.postgres import fetch
from tests.support.server import wait_for

pytestmark = pytest.mark.slow

DAYS = 30
ALL = 0
OLD = ("2024-03-01T10:00:00Z", "2024-03-31T10:00:00Z")


@pytest.fixture(scope="module")
def asked(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """It has the apps `one` and `two`."""
    path = tmp_path_factory.mktemp("archive")
    settings = {"events__retain_days": DAYS, "archive__retain_days": ALL}
    with asked_server(shared_database_url, path, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def gone(asked: Asked) -> list[str]:
    """The ids of two events of a month that Postgres has dropped; one of now is there."""
    sent = asked.send(
        *({"event_name": "old", "timestamp": at, "event_params": {"user_id": "u"}} for at in OLD),
        {"event_name": "new", "event_params": {"user_id": "u"}},
    )
    wait_for(lambda: stored(asked, "events_default") == 0)
    wait_for(lambda: not troubles(asked))
    wait_for(lambda: stored(asked, "events") == 1, timeout_s=30)
    return sent[:2]


def troubles(asked: Asked) -> dict[int, str]:
    """Have go what can go; return why something waits."""
    url = asked.database_url
    asyncio.run(retained.one_round(url, DAYS, ALL, has_archive=True))
    return asyncio.run(retained.troubles(url))


def stored(asked: Asked, table: str) -> int:
    """Return how many events Postgres has."""
    return int(asyncio.run(fetch(asked.database_url, f"SELECT count(*) FROM {table}"))[0][0])


def test_all_questions_reach_over_both(asked: Asked, gone: list[str]) -> None:
    """Each event once, wherever it is."""
    month = "from=2024-03-01&to=2024-04-01"
    listed = [each["id"] for each in asked.ask("/v1/events")["events"]]
    assert set(gone) < set(listed)
    assert len(listed) == 3
    series = asked.ask(f"/v1/trends?event=old&interval=month&{month}")["series"]
    assert [each["values"] for each in series] == [[2]]
    names = {each["name"]: each["count"] for each in asked.ask("/v1/names")["names"]}
    assert names == {"old": 2, "new": 1}
    assert len(asked.ask("/v1/people/u/events")["events"]) == 3
    lines = asked.get(f"/v1/export?{month}").text.splitlines()
    assert {json.loads(line)["id"] for line in lines} == set(gone)


def test_event_that_only_the_archive_has_is_on_its_page(
    admit: Admit, apps: Apps, gone: list[str]
) -> None:
    """And in the explorer."""
    viewer = admit(Role.VIEWER)
    for event_id in gone:
        assert viewer.get(f"/apps/{apps['one']}/events/{event_id}").status_code == 200
    page = viewer.get(f"/apps/{apps['one']}/explore?from=2024-03-01&to=2024-04-01").text
    assert all(event_id in page for event_id in gone)


def test_health_says_what_goes_when(asked: Asked, admit: Admit, gone: list[str]) -> None:
    """And what is kept of which app, as the metrics do."""
    assert gone
    url = asked.database_url
    month = period_of(datetime.now(UTC), "month")
    asyncio.run(fetch(url, "UPDATE apps SET retain_days = 60 WHERE name = 'two'"))
    asyncio.run(retained.one_round(url, DAYS, ALL, has_archive=True))
    page = admit().get("/health").text
    section = re.sub(r"\s+", " ", page.partition('id="retention"')[2].partition("</section>")[0])
    assert "<dt>Kept in Postgres</dt><dd>30 days</dd>" in section
    assert "<dt>In the archive</dt><dd>for ever</dd>" in section
    assert "<dt>two</dt><dd>60 days; in the archive for ever</dd>" in section
    goes = month.end + timedelta(days=DAYS)
    row = re.search(rf"{name_of(month)}</th>.*?</tr>", section)
    assert row
    assert f"<td>{goes:%Y-%m-%d}</td>" in row[0]
    metrics = asked.server.metrics()
    assert metrics["nonito_retention_waiting"] == 0
    assert metrics["nonito_retention_partitions_dropped_total"] >= 0


def test_days_of_an_app_are_set_on_its_page(asked: Asked, admit: Admit, apps: Apps) -> None:
    """By its owner, who sees what is wrong with them; it is noted who did."""
    path, owner = f"/apps/{apps['one']}/settings", admit(Role.OWNER)
    fields = {"user_field": "user_id", "timezone": "UTC"}

    def days() -> tuple[int | None, int | None]:
        sql = "SELECT retain_days, archive_retain_days FROM apps WHERE name = 'one'"
        (row,) = asyncio.run(fetch(asked.database_url, sql))
        return row["retain_days"], row["archive_retain_days"]

    wanted = {"retain_days": "365", "archive_retain_days": "-1"}
    assert owner.post(path, **fields, **wanted).status_code == 303
    assert days() == (365, -1)
    page = owner.get(path).text
    assert 'name="retain_days" value="365"' in page
    for wrong in ("-1", "x", "99999", "1.5", "٣", "9" * 30):
        refused = owner.post(path, **fields, retain_days=wrong)
        assert refused.status_code == 422
        assert "Write a number of days" in refused.text
    assert owner.post(path, **fields).status_code == 303  # a form without them
    assert days() == (365, -1)
    assert admit(Role.VIEWER).post(path, **fields, retain_days="1").status_code in {403, 404}
    assert owner.post(path, **fields, retain_days="", archive_retain_days="").status_code == 303
    assert days() == (None, None)
    log = asyncio.run(fetch(asked.database_url, "SELECT object FROM audit_log"))
    assert any(
        "events kept 365 days, in the archive as long as in Postgres" in row["object"]
        for row in log
    )
