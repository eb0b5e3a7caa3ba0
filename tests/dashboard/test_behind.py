"""Who is behind a figure: as many people as it says."""

import html
import re
from collections.abc import Iterator

import pytest

from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.table import tables_of
from tests.dashboard.visitor import Visitor

RANGE = "from=2026-07-01&to=2026-07-15"
PLANS = ("pro", "5", "5.0", None, "", "<i>&?=1")


@pytest.fixture(scope="module")
def july(asked: Asked) -> Asked:
    """Two weeks of thirty people, of whom some do nothing twice."""
    for n in range(60):
        plan = PLANS[n % len(PLANS)]
        for step, name in enumerate(("see", "pick", "pay")):
            if n % (step + 1) == 0:
                params = {"user_id": f"j{n % 30}"} | ({} if plan is None else {"plan": plan})
                at = f"2026-07-{1 + n % 14:02}T{10 + step}:00:00Z"
                asked.send({"event_name": name, "event_params": params, "timestamp": at})
    asked.send({"event_name": "see", "timestamp": "2026-07-02T00:00:00Z"})
    return asked


@pytest.fixture
def viewer(admit: Admit, july: Asked) -> Visitor:  # noqa: ARG001 - its events are there
    """Somebody who sees everything."""
    return admit(Role.VIEWER)


def figures_of(viewer: Visitor, page: str) -> Iterator[tuple[str, str]]:
    """Yield figures that lead to people, and what stands there."""
    found = re.findall(r'<a href="([^"]*/people\?[^"]*)">([\d,]+)(?: did not come)?</a>', page)
    for link, figure in found:
        answer = viewer.get(html.unescape(link))
        assert answer.status_code == 200, answer.text
        yield figure, answer.text


@pytest.mark.parametrize(
    ("view", "query", "least"),
    [
        ("trends", "event=see&event=pay&measure=people", 20),
        ("trends", "event=see&measure=people&interval=week&timezone=Asia/Tokyo", 4),
        ("trends", "event=see&measure=people&breakdown=params.plan&interval=month", 12),
        ("trends", "event=see&measure=people&breakdown=params.plan&top=2&interval=month", 8),
        ("trends", "measure=people&where=params.plan:eq:pro&interval=week", 4),
        ("funnels", "step=see&step=pick&step=pay&window=1d", 8),
        ("funnels", "step=see&step=pick&breakdown=params.plan&top=2", 10),
    ],
)
def test_list_has_as_many_people_as_the_figure(
    viewer: Visitor, apps: Apps, view: str, query: str, least: int
) -> None:
    """Each figure of each bucket, group and step; the list has each of them once."""
    page = viewer.get(f"/apps/{apps['one']}/{view}?{RANGE}&{query}").text
    seen = 0
    for figure, text in figures_of(viewer, page):
        told = re.findall(r'<p class="headline"><b>([\d,]+)</b> (?:person|people)', text)
        assert told == [figure]
        tables = tables_of(text)
        people = [row[0] for row in tables[0].rows] if tables else []
        assert len({*people}) == len(people) == int(figure)
        seen += 1
    assert seen >= least


def test_people_lead_to_their_events(july: Asked, viewer: Visitor, apps: Apps) -> None:
    """Those of a bucket, all together and of each of them; events of nobody are counted."""
    path = f"/apps/{apps['one']}/trends/people?{RANGE}&event=see&at=2026-07-02"
    text = viewer.get(path).text
    assert re.search(r"<b>\d+</b> people, \d+ events", text)
    (events,) = re.findall(r'<a href="/apps/\d+/explore\?([^"]*)">See the events</a>', text)
    listed = july.ask(f"/v1/events?{html.unescape(events)}")["events"]
    assert f", {len(listed)} events" in text
    assert any(each["person"] is None for each in listed)
    (row, *_) = tables_of(text)[0].rows
    assert f"/apps/{apps['one']}/person?id={row[0]}" in text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("trends/people?of=1", 400),
        ("trends/people?event=see&at=2020-01-01", 404),
        ("trends/people?group=nobody", 400),
        ("trends/people?interval=year", 400),
        ("funnels/people?step=see&step=pay&reached=3", 400),
        ("funnels/people?step=see", 400),
        ("funnels/people", 303),
    ],
)
def test_figure_that_there_is_not_is_told(
    viewer: Visitor, apps: Apps, path: str, status: int
) -> None:
    """With what can be written."""
    assert viewer.get(f"/apps/{apps['one']}/{path}").status_code == status
