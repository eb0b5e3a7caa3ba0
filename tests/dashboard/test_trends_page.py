"""Trends: every figure on the page is the query API's, and leads to the events behind it."""

import csv
import html
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.api import figures
from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.table import Table, attribute, tables_of
from tests.dashboard.visitor import Visitor

RANGE = "from=2026-03-01&to=2026-03-11"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=HYPERLINK(1)",
    "{{7*7}}",
)


def event(name: str, day: int, person: str, **params: object) -> dict[str, object]:
    """Return an event of a day in March."""
    return {
        "event_name": name,
        "event_params": {"user_id": person, **params},
        "timestamp": f"2026-03-{day:02}T12:00:00Z",
    }


@pytest.fixture(scope="module")
def march(asked: Asked) -> Asked:
    """Ten days of some people, and hostile values."""
    people = [f"p{n}" for n in range(7)]
    for day in range(1, 11):
        asked.send(
            *(
                event("view", day, person, amount=n * 1_000.5, plan=("pro", "free", None)[n % 3])
                for n, person in enumerate(people[: 1 + day % 7])
            ),
            *(event("buy", day, person, plan=HOSTILE[day % 4]) for person in people[: day % 3]),
        )
    return asked


@pytest.fixture
def viewer(admit: Admit, march: Asked) -> Visitor:  # noqa: ARG001 - its events are there
    """Somebody who sees everything."""
    return admit(Role.VIEWER)


def page_of(viewer: Visitor, apps: Apps, query: str) -> str:
    """Return a page of trends."""
    answer = viewer.get(f"/apps/{apps['one']}/trends?{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


def table_of(text: str) -> Table:
    """Return the table behind the only chart of a page."""
    (table,) = tables_of(text)
    return table


@pytest.mark.parametrize(
    "query",
    [
        "event=view&event=buy",
        "event=view&measure=people",
        "event=view&measure=sum:params.amount",
        "event=view&measure=average:params.amount&interval=week",
        "event=view&measure=median:params.amount&interval=month",
        "event=view&measure=p95:params.amount",
        "event=view&breakdown=params.plan",
        "breakdown=params.plan&top=1&measure=people",
        "event=view&where=params.plan:eq:pro",
        "event=view&timezone=Asia/Kathmandu&interval=week",
        "event=view&interval=hour&from=2026-03-02&to=2026-03-03",
    ],
)
def test_figures_are_those_of_the_query_api(
    march: Asked, viewer: Visitor, apps: Apps, query: str
) -> None:
    """All of them, the totals and their order too."""
    asked = query if "from=" in query else f"{RANGE}&{query}"
    answer: Any = march.ask(f"/v1/trends?{asked}")
    table = table_of(page_of(viewer, apps, asked))
    expected = [
        [figures.separated(each["values"][place]) for each in answer["series"]]
        for place in range(len(answer["buckets"]))
    ]
    assert [row[1:] for row in table.rows[:-1]] == expected
    assert table.rows[-1][1:] == [figures.separated(each["total"]) for each in answer["series"]]


def test_figure_leads_to_the_events_behind_it(march: Asked, viewer: Visitor, apps: Apps) -> None:
    """As many as it says: of its bucket, its event, its group and the page's filters."""
    query = f"{RANGE}&event=view&breakdown=params.plan&where=params.amount:ge:1000&interval=week"
    text = page_of(viewer, apps, query)
    links = re.findall(r'<td><a href="/apps/\d+/explore\?([^"]*)">([\d,]+)</a></td>', text)
    assert len(links) > 5
    for link, figure in links:
        events = march.ask(f"/v1/events?limit=1000&{html.unescape(link)}")["events"]
        assert len(events) == int(figure.replace(",", ""))


def test_rest_of_a_breakdown_leads_to_its_events(march: Asked, viewer: Visitor, apps: Apps) -> None:
    """From its total: in the table each would name all other values."""
    text = page_of(viewer, apps, f"{RANGE}&event=buy&breakdown=params.plan&top=1")
    legend = re.findall(r'<b><a href="/apps/\d+/explore\?([^"]*)">([\d,]+)</a></b>', text)
    assert len(legend) == 2
    for link, figure in legend:
        events = march.ask(f"/v1/events?limit=1000&{html.unescape(link)}")["events"]
        assert len(events) == int(figure)


def test_period_before_is_as_long_and_ends_where_this_one_does(
    march: Asked, viewer: Visitor, apps: Apps
) -> None:
    """Its figures are those of the question about it; growth is told in percent."""
    query = "event=view&from=2026-03-06&to=2026-03-11"
    table = table_of(page_of(viewer, apps, f"{query}&compare=previous"))
    (now,) = march.ask(f"/v1/trends?{query}")["series"]
    (before,) = march.ask("/v1/trends?event=view&from=2026-03-01&to=2026-03-06")["series"]
    assert [row[1:] for row in table.rows[:-1]] == [
        [str(one), str(other)] for one, other in zip(now["values"], before["values"], strict=True)
    ]
    change = 100 * (now["total"] - before["total"]) / before["total"]
    text = page_of(viewer, apps, f"{query}&compare=previous")
    assert f"{change:+.1f}%" in text
    assert f"from {before['total']}" in re.sub(r"<[^>]*>", "", text)


def test_bucket_that_is_not_over_is_named(viewer: Visitor, apps: Apps) -> None:
    """And one that the range cuts."""
    assert '<tr data-short="' in (text := page_of(viewer, apps, "event=view&last=7d"))
    assert len(re.findall(r'class="partial"', text)) == 1
    assert "not over yet" in text
    cut = page_of(viewer, apps, "event=view&from=2026-03-03&to=2026-03-12&interval=week")
    assert len(re.findall(r"<i>cut by the range</i>", cut)) == 2


def test_hours_that_have_not_begun_have_no_figure(
    march: Asked, viewer: Visitor, apps: Apps
) -> None:
    """They are not none: nobody could have come yet."""
    march.send({"event_name": "hourly", "event_params": {"user_id": "ann"}})
    start, end = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-3, 5))
    query = f"event=hourly&interval=hour&from={start:%Y-%m-%dT%H:00Z}&to={end:%Y-%m-%dT%H:00Z}"
    rows = table_of(page_of(viewer, apps, query)).rows[:-1]
    (now,) = (place for place, row in enumerate(rows) if "not over yet" in row[0])
    assert [row[1] != "" for row in rows] == [place <= now for place in range(len(rows))]
    assert all("still to come" in row[0] for row in rows[now + 1 :])
    assert len(rows) == 8


def test_csv_is_what_the_command_prints_and_holds_no_formula(
    march: Asked, viewer: Visitor, apps: Apps
) -> None:
    """A row for each figure."""
    query = f"{RANGE}&event=buy&breakdown=params.plan"
    answer = viewer.get(f"/apps/{apps['one']}/trends?{query}&format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["Content-Disposition"]
    heading, *rows = csv.reader(io.StringIO(answer.text))
    assert heading == ["start", "event", "group", "value", "figure"]
    series = march.ask(f"/v1/trends?{query}")["series"]
    assert [row[4] for row in rows] == [str(v) for each in series for v in each["values"]]
    assert "'=HYPERLINK(1)" in {row[3] for row in rows}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_fields_of_the_form_become_the_question(viewer: Visitor, apps: Apps) -> None:
    """Empty ones are left out, and a parameter needs no `params.`."""
    path = f"/apps/{apps['one']}/trends"
    form = "event=view&event=&measure_of=sum&measured=amount&by=plan&interval=&compare=&last=7d"
    to = viewer.get(f"{path}?{form}").headers["Location"]
    assert to == (f"{path}?event=view&last=7d&measure=sum%3Aparams.amount&breakdown=params.plan")


def test_question_that_is_none_is_told_beside_its_form(viewer: Visitor, apps: Apps) -> None:
    """With the status of the query API."""
    answer = viewer.get(f"/apps/{apps['one']}/trends?event=view&interval=year")
    assert answer.status_code == 400
    assert "write one of hour, day, week, month" in answer.text
    assert attribute(answer.text, "event") == ["view", ""]


def test_page_says_how_the_api_is_asked_the_same(march: Asked, viewer: Visitor, apps: Apps) -> None:
    """Without what only a page has; it is what was answered."""
    text = page_of(viewer, apps, f"{RANGE}&event=view&compare=previous")
    (found,) = re.findall(r"""curl -H "X-API-Key: \$READ_KEY" '([^ ]+)'""", text)
    address = html.unescape(found)
    assert address.startswith(f"{march.url}/v1/trends?")
    assert march.ask(address.removeprefix(march.url))["series"][0]["total"] > 0


def test_very_many_figures_are_shown_in_part(march: Asked, viewer: Visitor, apps: Apps) -> None:
    """A page stays small; the CSV has all."""
    march.send(*(event("many", 1, "ann", n=n) for n in range(40)))
    query = f"{RANGE}&event=many&breakdown=params.n&top=40"
    text = page_of(viewer, apps, query)
    assert "16 more series are in the CSV alone" in text
    rows = viewer.get(f"/apps/{apps['one']}/trends?{query}&format=csv").text.splitlines()
    assert len(rows) == 1 + 40 * 10
