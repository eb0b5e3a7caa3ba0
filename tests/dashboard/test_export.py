"""What the explorer shows is what its export has."""

import csv
import io
import json
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest
import requests

from ingest.api import conditions
from ingest.insights.questions import Selection
from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard import reading
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.told import FORMULAS, HOSTILE, RANGE, made, stored
from tests.dashboard.visitor import Visitor
from tests.insights import oracle
from tests.insights.world import Stored

WHERES: tuple[list[str], ...] = (
    [],
    ['params.plan:eq:"a|b"'],
    ["params.n:ge:20", f"params.plan:ne:{HOSTILE}"],
)


@pytest.fixture(scope="module")
def events(asked: Asked) -> list[Stored]:
    """What the first app has."""
    return stored(asked, made())


@pytest.fixture(scope="module")
def viewer(admit: Admit) -> Visitor:
    """Somebody who may look."""
    return admit(Role.VIEWER)


def ids_of(kind: str, answer: requests.Response, directory: Path) -> list[str]:
    """Return the ids of an export."""
    if kind == "NDJSON":
        return [json.loads(line)["id"] for line in answer.text.splitlines()]
    if kind == "CSV":
        return [row["id"] for row in csv.DictReader(io.StringIO(answer.text, newline=""))]
    file = directory / "x.parquet"
    file.write_bytes(answer.content)
    sql = f"SELECT id::VARCHAR FROM '{file}' ORDER BY \"at\", id"
    found = duckdb.connect().execute(sql).fetchall()
    return [event_id for (event_id,) in found]


@pytest.mark.parametrize("where", WHERES, ids=repr)
@pytest.mark.parametrize("kind", ["NDJSON", "CSV", "Parquet"])
def test_export_has_the_events_of_the_page_it_stands_on(
    apps: Apps,
    viewer: Visitor,
    events: list[Stored],
    tmp_path: Path,
    kind: str,
    where: list[str],
) -> None:
    """All of them, the earliest first, whichever page of the list it is."""
    query = RANGE + "&interval=day" + "".join(f"&where={quote(each)}" for each in where)
    page = viewer.get(f"/apps/{apps['one']}/explore?{query}")
    meant = oracle.meant(Selection(None, conditions.read_all("where", where)), events)
    for address in (page, viewer.get(reading.link(page, "Older") or "/")):
        link = reading.link(address, kind)
        if link is None:
            continue
        answer = viewer.get(link)
        named = f'attachment; filename="events.{kind.lower()}"'
        assert answer.headers["Content-Disposition"] == named
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert ids_of(kind, answer, tmp_path) == [str(each.id) for each in meant]
    assert reading.total(page) == len(meant)


@pytest.mark.usefixtures("events")
def test_page_without_a_range_exports_its_seven_days(apps: Apps, viewer: Visitor) -> None:
    """And no more than it shows."""
    page = viewer.get(f"/apps/{apps['one']}/explore")
    link = reading.link(page, "NDJSON")
    assert link
    assert reading.query(link) == {"format": ["ndjson"], "last": ["7d"]}
    assert len(viewer.get(link).text.splitlines()) == reading.total(page)


def test_export_is_of_one_s_own_apps(asked: Asked, apps: Apps, viewer: Visitor) -> None:
    """Whoever has no part in an app gets nothing of it, and whoever has not signed in nothing."""
    path = f"/apps/{apps['two']}/export?format=csv"
    assert viewer.get(path).status_code == 404
    assert Visitor(asked.url).get(path).status_code == 303


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("format=xlsx", "format: write one of ndjson, csv, parquet"),
        ("where=plan", "where: write FIELD:OPERATOR:VALUE"),
        ("after=x", "after: write the id"),
        ("interval=day", "interval: there is no such parameter"),
        ("from=2026-03-05&to=2026-03-01", "to: it must be later than from"),
    ],
)
def test_what_can_t_be_exported_is_a_page_that_says_why(
    apps: Apps, viewer: Visitor, query: str, told: str
) -> None:
    """And no file."""
    answer = viewer.get(f"/apps/{apps['one']}/export?{query}")
    assert (answer.status_code, told in answer.text) == (400, True)
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Content-Disposition" not in answer.headers


def test_csv_has_no_cell_that_a_spreadsheet_takes_for_a_formula(
    asked: Asked, apps: Apps, viewer: Visitor
) -> None:
    """In names, people and parameters, behind blanks and in any width; its head is ours."""
    day = "2026-02-01"
    asked.send(
        *(
            {
                "event_name": formula,
                "event_params": {"user_id": formula, formula: formula},
                "timestamp": f"{day}T00:00:00Z",
            }
            for formula in FORMULAS
        )
    )
    text = viewer.get(f"/apps/{apps['one']}/export?format=csv&from={day}&to={day}T01:00Z").text
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert head == ["id", "at", "created_at", "name", "person", "params"]
    assert {row[3] for row in rows} == {f"'{formula}" for formula in FORMULAS}
    assert all(row[3] == row[4] and row[5].startswith("{") for row in rows)
    for row in rows:
        assert json.loads(row[5])["user_id"] == row[4][1:]


@pytest.mark.usefixtures("events")
def test_account_has_few_exports_at_once_and_its_pages_all_the_same(
    asked: Asked, apps: Apps, viewer: Visitor
) -> None:
    """A third one is told to wait; a list is answered meanwhile."""
    big = "x" * 60_000
    asked.send(*({"event_name": "big", "event_params": {"n": n, "x": big}} for n in range(200)))
    path = f"{asked.url}/apps/{apps['one']}/export?format=ndjson&last=1d"

    def opened() -> requests.Response:
        return viewer.browser.get(path, stream=True, timeout=60, headers={"Accept": "text/html"})

    slow = [opened(), opened()]
    try:
        third = opened()
        assert third.status_code == 429
        assert "of this account" in third.text
        assert viewer.get(f"/apps/{apps['one']}/explore?{RANGE}").status_code == 200
    finally:
        for each in slow:
            each.close()


def test_head_of_an_export_sends_none(apps: Apps, viewer: Visitor) -> None:
    """As that would be the whole of it."""
    path = f"{viewer.url}/apps/{apps['one']}/export?format=csv"
    answer = viewer.browser.head(path, headers={"Accept": "text/html"}, timeout=60)
    assert (answer.status_code, answer.content) == (200, b"")
