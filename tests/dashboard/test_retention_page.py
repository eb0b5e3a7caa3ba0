"""Retention: every figure on the page is the query API's, shaded by tenths."""

import csv
import io
import re
from typing import Any

import pytest

from ingest.api import figures
from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.table import tables_of
from tests.dashboard.visitor import Visitor

RANGE = "from=2026-05-04&to=2026-06-01"


@pytest.fixture(scope="module")
def may(asked: Asked) -> Asked:
    """Four weeks of people who come back ever less."""
    asked.send(
        *(
            {
                "event_name": "open",
                "event_params": {"user_id": f"r{person}"},
                "timestamp": f"2026-05-{4 + 7 * week + person % 3:02}T0{hour}:00:00Z",
            }
            for person in range(20)
            for week in range(4)
            for hour in range(1 + person % 2)
            if week >= person % 2 and (person + week) % (1 + week) == 0
        )
    )
    return asked


@pytest.fixture
def viewer(admit: Admit, may: Asked) -> Visitor:  # noqa: ARG001 - its events are there
    """Somebody who sees everything."""
    return admit(Role.VIEWER)


def page_of(viewer: Visitor, apps: Apps, query: str) -> str:
    """Return a page of retention."""
    answer = viewer.get(f"/apps/{apps['one']}/retention?{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize(
    "query",
    ["first=open&then=open", "kind=recurring&back=on_or_after", "interval=day&first=open"],
)
def test_figures_are_those_of_the_query_api(
    may: Asked, viewer: Visitor, apps: Apps, query: str
) -> None:
    """Shares and people of every cohort, in a table with headings."""
    cohorts: Any = may.ask(f"/v1/retention?{RANGE}&{query}")["cohorts"]
    (table,) = tables_of(page_of(viewer, apps, f"{RANGE}&{query}"))
    assert len(table.head) == 2 + len(cohorts)
    for row, cohort in zip(table.rows, cohorts, strict=True):
        size = cohort["people"]
        assert row[:2] == [cohort["start"][:10], str(size)]
        cells = [f"{figures.share(n, size)} {n}" if size else f" {n}" for n in cohort["back"]]
        assert row[2:] == cells


def test_cells_are_shaded_by_tenths(may: Asked, viewer: Visitor, apps: Apps) -> None:
    """Nobody is lightest; one of many is not nobody."""
    cohorts = may.ask(f"/v1/retention?{RANGE}&first=open")["cohorts"]
    shades = re.findall(r'<td class="d(\d+)', page_of(viewer, apps, f"{RANGE}&first=open"))
    assert [int(shade) for shade in shades] == [
        -(-10 * people // each["people"]) if each["people"] else 0
        for each in cohorts
        for people in each["back"]
    ]
    assert len({*shades}) > 2


def test_last_period_that_is_not_over_is_marked(may: Asked, viewer: Visitor, apps: Apps) -> None:
    """In each row its last cell, to eyes and to ears; of a whole range none."""
    may.send({"event_name": "open", "event_params": {"user_id": "now"}})
    text = page_of(viewer, apps, "first=open&last=30d&interval=month")
    rows = re.findall(r"<tr[^>]*><th scope=.row.*?</tr>", text, re.DOTALL)
    assert rows
    for row in rows:
        cells = re.findall(r'<td class="d\d+( partial)?">', row)
        assert cells[-1] == " partial"
        assert not any(cells[:-1])
    assert "so far" in text
    assert " partial" not in page_of(viewer, apps, f"{RANGE}&first=open")


def test_csv_has_a_row_for_each_figure(may: Asked, viewer: Visitor, apps: Apps) -> None:
    """As the command prints it."""
    cohorts = may.ask(f"/v1/retention?{RANGE}&first=open")["cohorts"]
    heading, *rows = csv.reader(
        io.StringIO(page_of(viewer, apps, f"{RANGE}&first=open&format=csv"))
    )
    assert heading == ["cohort", "people", "period", "back"]
    assert [int(row[3]) for row in rows] == [n for each in cohorts for n in each["back"]]
