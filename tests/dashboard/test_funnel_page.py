"""Funnels: every figure on the page is the query API's; steps are changed without a script."""

import csv
import html
import io
import re
from typing import Any

import pytest

from ingest.api import figures, records
from ingest.insights.answers import FunnelGroup, FunnelStep
from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.table import attribute, tables_of
from tests.dashboard.visitor import Visitor

RANGE = "from=2026-04-01&to=2026-04-08"
STEPS = "step=look&step=try&step=pay"


@pytest.fixture(scope="module")
def april(asked: Asked) -> Asked:
    """Twelve people, of whom ever fewer go on."""
    for person in range(12):
        for step, name in enumerate(("look", "try", "pay")):
            if person % (step + 1) == 0:
                asked.send(
                    {
                        "event_name": name,
                        "event_params": {"user_id": f"f{person}", "plan": "=1+1" * (person % 2)},
                        "timestamp": f"2026-04-02T{10 + step}:{person:02}:00Z",
                    }
                )
    return asked


@pytest.fixture
def viewer(admit: Admit, april: Asked) -> Visitor:  # noqa: ARG001 - its events are there
    """Somebody who sees everything."""
    return admit(Role.VIEWER)


def page_of(viewer: Visitor, apps: Apps, query: str, status: int = 200) -> str:
    """Return a page of funnels."""
    answer = viewer.get(f"/apps/{apps['one']}/funnels?{query}")
    assert answer.status_code == status, answer.text
    return answer.text


def reached(group: dict[str, Any]) -> list[records.Reached]:
    """Return the steps of a group of an answer."""
    steps = tuple(FunnelStep(**step) for step in group["steps"])
    return [*records.steps(FunnelGroup(group["group"], group["value"], steps, None))]


def test_figures_are_those_of_the_query_api(april: Asked, viewer: Visitor, apps: Apps) -> None:
    """People, both shares, how many were lost on the way, and the median time."""
    query = f"{RANGE}&{STEPS}&window=1d"
    (group,) = april.ask(f"/v1/funnel?{query}")["groups"]
    assert [step["people"] for step in group["steps"]] == [12, 6, 2]
    (table,) = tables_of(page_of(viewer, apps, query))
    assert [row[1:4] for row in table.rows] == [
        [
            str(step.people),
            figures.percent(step.of_first),
            figures.percent(step.of_previous) if place else "",
        ]
        for place, step in enumerate(reached(group))
    ]
    assert [row[4] for row in table.rows] == ["", "6", "4"]
    assert [row[5] for row in table.rows] == [
        "",
        *(figures.span(step["median_s"]) for step in group["steps"][1:]),
    ]
    assert f"<b>{100 * 2 / 12:.1f}%</b> of 12 got to the end" in page_of(viewer, apps, query)


def test_groups_are_those_of_the_query_api(april: Asked, viewer: Visitor, apps: Apps) -> None:
    """Everybody first."""
    query = f"{RANGE}&{STEPS}&breakdown=params.plan"
    answer: Any = april.ask(f"/v1/funnel?{query}")
    (table,) = tables_of(page_of(viewer, apps, query))
    assert [re.findall(r"^\d+", cell) for row in table.rows for cell in row[1:4]] == [
        [str(step["people"])] for group in answer["groups"] for step in group["steps"]
    ]
    assert [row[0] for row in table.rows] == ["all", '""', "=1+1"]


def test_bars_are_as_wide_as_their_shares(viewer: Visitor, apps: Apps) -> None:
    """Without a style of their own, which the page's policy would not have."""
    text = page_of(viewer, apps, f"{RANGE}&{STEPS}")
    assert re.findall(r'<rect width="([\d.]+)" height="1"/>', text) == ["100.00", "50.00", "16.67"]
    assert "style=" not in text


def test_window_that_is_not_over_is_told(april: Asked, viewer: Visitor, apps: Apps) -> None:
    """As what may still grow."""
    april.send({"event_name": "look", "event_params": {"user_id": "late"}})
    assert "got to the end, so far" in page_of(viewer, apps, f"{STEPS}&last=1d")
    assert "so far" not in page_of(viewer, apps, f"{RANGE}&{STEPS}")


def test_csv_holds_no_formula(viewer: Visitor, apps: Apps) -> None:
    """A row for each step of each group."""
    query = f"{RANGE}&{STEPS}&breakdown=params.plan&format=csv"
    heading, *rows = csv.reader(io.StringIO(page_of(viewer, apps, query)))
    assert heading[:5] == ["group", "value", "step", "event", "people"]
    assert len(rows) == 9
    assert {row[1] for row in rows} == {"", "'=1+1"}


def test_steps_are_moved_and_taken_away_by_links(viewer: Visitor, apps: Apps) -> None:
    """So that no script is needed."""
    text = page_of(viewer, apps, f"{RANGE}&{STEPS}")
    assert attribute(text, "step") == ["look", "try", "pay", ""]
    up = re.findall(r'<a href="([^"]*)" aria-label="Move step 3 up"', text)
    away = re.findall(r'<a href="([^"]*)" aria-label="Take step 1 away"', text)
    for (link,), order in ((up, ["look", "pay", "try", ""]), (away, ["try", "pay", ""])):
        answer = viewer.get(html.unescape(link))
        assert attribute(answer.text, "step") == order


@pytest.mark.parametrize("steps", [1, 11])
def test_too_few_or_too_many_steps_are_told_beside_the_form(
    viewer: Visitor, apps: Apps, steps: int
) -> None:
    """Nothing of what was written is lost."""
    text = page_of(viewer, apps, "&".join(["step=look"] * steps), 400)
    assert "give it 2 to 10 times" in text
    assert attribute(text, "step")[:steps] == ["look"] * steps


def test_page_without_steps_says_what_it_is_for(viewer: Visitor, apps: Apps) -> None:
    """It has room for three, and suggests names."""
    text = page_of(viewer, apps, "")
    assert attribute(text, "step") == ["", "", ""]
    assert '<option value="look">' in text


def test_new_funnel_begins_with_a_week(viewer: Visitor, apps: Apps) -> None:
    """Unless the address says a range already."""
    week = '<input type="hidden" name="last" value="7d">'
    path = f"/apps/{apps['one']}/funnels"
    assert week in viewer.get(path).text
    assert week not in viewer.get(f"{path}?from=2026-03-01").text
    assert viewer.get(f"{path}?last=30d").text.count('name="last"') == 1
