"""The explorer shows what the query API answers, and its address is the question."""

import html
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import pytest

from ingest.api import conditions
from ingest.insights.questions import Condition, Selection
from ingest.store.accounts import Role
from tests.api.asked import Asked
from tests.dashboard import reading
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.told import HOSTILE, RANGE, made, stored
from tests.dashboard.visitor import Visitor
from tests.insights import oracle
from tests.insights.world import Stored
from tests.support.server import wait_for

WHERES: tuple[list[str], ...] = (
    [],
    ["params.plan:eq:pro"],
    ['params.plan:eq:"a|b"'],
    ['params.plan:eq:a"b'],
    ["params.plan:eq:ünï|params.plan:eq:5"],
    ["params.n:ge:10", "params.n:lt:100"],
    ['params."a|b":eq:1'],
    ['params."x.y":exists', "params.plan:missing"],
    [f"params.plan:eq:{HOSTILE}"],
    ["person:ne:u1", "name:contains:ie"],
)


@pytest.fixture(scope="module")
def events(asked: Asked) -> list[Stored]:
    """What the first app has, once whoever asked before would see it."""
    found = stored(asked, made())
    wait_for(lambda: "view" in {each["name"] for each in asked.ask("/v1/names")["names"]})
    return found


@pytest.fixture(scope="module")
def viewer(admit: Admit) -> Visitor:
    """Somebody who may look."""
    return admit(Role.VIEWER)


def path(apps: Apps, query: str = "", page: str = "explore", app: str = "one") -> str:
    """Return a page's address."""
    return f"/apps/{apps[app]}/{page}{f'?{query}' if query else ''}"


def listed(viewer: Visitor, address: str) -> Iterator[list[reading.Row]]:
    """Yield the rows of each page of a list, from an address on."""
    next_one: str | None = address
    while next_one is not None:
        page = viewer.get(next_one)
        assert page.status_code == 200, page.text
        yield reading.rows(page)
        next_one = reading.link(page, "Older")


@pytest.mark.parametrize("where", WHERES, ids=repr)
@pytest.mark.parametrize("name", [None, "view", HOSTILE])
def test_rows_and_count_are_the_api_s_and_the_oracle_s(
    asked: Asked,
    apps: Apps,
    viewer: Visitor,
    events: list[Stored],
    where: list[str],
    name: str | None,
) -> None:
    """Of every filter; what is on several pages is on them once, the latest first."""
    query = RANGE + "".join(f"&where={quote(each)}" for each in where)
    query += f"&event={quote(name)}" if name else ""
    rows = [row for page in listed(viewer, path(apps, query)) for row in page]
    selection = Selection(name, conditions.read_all("where", where))
    assert [row.id for row in rows] == [str(e.id) for e in oracle.meant(selection, events)[::-1]]
    answer = asked.ask(f"/v1/events?{query}&limit=1000")
    assert [row.id for row in rows] == [each["id"] for each in answer["events"]]
    assert reading.total(viewer.get(path(apps, query))) == len(rows)


def test_pages_have_fifty_rows_and_each_event_once(
    apps: Apps, viewer: Visitor, events: list[Stored]
) -> None:
    """While others come in; of a later page nothing is counted again."""
    pages = list(listed(viewer, path(apps, RANGE)))
    assert [len(page) for page in pages] == [50, 50, len(events) - 100]
    assert len({row.id for page in pages for row in page}) == len(events)
    second = reading.link(viewer.get(path(apps, RANGE)), "Older")
    assert second
    assert 'class="bars"' not in viewer.get(second).text
    assert reading.link(viewer.get(second), "Newest") == path(apps, RANGE)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
@pytest.mark.parametrize("interval", ["hour", "day", "week"])
@pytest.mark.usefixtures("events")
def test_bars_are_the_api_s_buckets_in_the_zone_that_is_named(
    asked: Asked, apps: Apps, viewer: Visitor, zone: str, interval: str
) -> None:
    """And each leads to its events alone."""
    query = f"{RANGE}&timezone={zone}&interval={interval}"
    page = viewer.get(path(apps, query))
    series = asked.ask(f"/v1/trends?{query}")["series"][0]
    bars = reading.bars(page)
    assert [count for _, count, _ in bars] == series["values"]
    assert reading.total(page) == series["total"] == sum(series["values"])
    assert f"2026-03-02 to 2026-03-13, {zone}" in page.text
    assert f"Time ({zone})" in page.text
    fullest = max(range(len(bars)), key=lambda n: bars[n][1])
    _, count, link = bars[fullest]
    assert reading.total(viewer.get(link)) == count
    assert len([row for rows in listed(viewer, link) for row in rows]) == count


@pytest.mark.usefixtures("events")
def test_bucket_that_the_range_has_a_part_of_is_marked(apps: Apps, viewer: Visitor) -> None:
    """As its figure is no whole one."""
    query = "from=2026-03-02T12:00:00Z&to=2026-03-05&interval=day"
    labels = [label for label, _, _ in reading.bars(viewer.get(path(apps, query)))]
    assert labels == ["2026-03-02, Mon a part of it", "2026-03-03, Tue", "2026-03-04, Wed"]


@pytest.mark.parametrize(
    ("last", "interval"),
    [("1d", "Hour"), ("7d", "Hour"), ("30d", "Day"), ("90d", "Day"), ("12mo", "Week")],
)
def test_range_chooses_how_it_is_cut(
    asked: Asked, apps: Apps, viewer: Visitor, last: str, interval: str
) -> None:
    """So that there are bars enough, and not too many."""
    now = datetime.now(UTC).isoformat()
    asked.send({"event_name": f"cut {last}", "event_params": {}, "timestamp": now})
    page = viewer.get(path(apps, f"last={last}&event=cut+{last}"))
    assert reading.total(page) == 1, reading.text(page.text)
    assert re.search(rf'aria-current="true">{interval}</a>', page.text)
    assert len(re.findall(r'class="bar(?: part)?"', page.text)) in range(20, 200)


@pytest.mark.usefixtures("events")
def test_without_a_range_the_last_seven_days_are_meant(
    asked: Asked, apps: Apps, viewer: Visitor
) -> None:
    """Today among them, in the app's zone."""
    now = datetime.now(UTC).isoformat()
    asked.send({"event_name": "of today", "event_params": {}, "timestamp": now})
    page = viewer.get(path(apps, "event=of+today"))
    assert reading.total(page) == 1
    today = datetime.now(UTC).date()
    assert f"{today - timedelta(days=6)} to {today}, UTC" in page.text


@pytest.mark.parametrize(
    ("field", "operator", "value"),
    [
        ("plan", "eq", "pro"),
        ("plan", "eq", "a|b"),
        ("plan", "ne", '"quoted"'),
        ("plan", "contains", "a:b?&=#%20+ü"),
        ("a|b", "eq", "1"),
        ("params.plan", "exists", ""),
        ('params."x.y"', "eq", "z"),
        (HOSTILE, "eq", HOSTILE),
        ("name", "eq", HOSTILE),
    ],
)
def test_filter_of_the_form_becomes_the_address_s_own(
    apps: Apps, viewer: Visitor, events: list[Stored], field: str, operator: str, value: str
) -> None:
    """Whatever is typed; and the cross beside it takes it away again."""
    given = {"filter_field": field, "filter_operator": operator, "filter_value": value}
    answer = viewer.get(path(apps, f"{RANGE}&event=view&{urlencode(given)}"))
    assert answer.status_code == 303
    to = answer.headers["Location"]
    (where,) = reading.query(to)["where"]
    read = conditions.read_all("where", [where])
    page = viewer.get(to)
    assert page.status_code == 200
    meant = oracle.meant(Selection("view", read), events)
    assert reading.total(page) == len(meant)
    taken = [
        address
        for address in re.findall(r'href="([^"]*)" aria-label="Take', page.text)
        if "where=" not in address
    ]
    assert taken == [path(apps, f"{RANGE}&event=view").replace("&", "&amp;")]


@pytest.mark.usefixtures("events")
def test_days_of_the_form_are_a_range_with_the_last_one(apps: Apps, viewer: Visitor) -> None:
    """Where the address has the first moment that does not belong."""
    answer = viewer.get(path(apps, "last=7d&first_day=2026-03-02&last_day=2026-03-03"))
    to = answer.headers["Location"]
    assert reading.query(to) == {"from": ["2026-03-02"], "to": ["2026-03-04"]}
    assert reading.total(viewer.get(to)) == 24


def test_menu_has_names_parameters_types_and_values_that_filter(
    asked: Asked, apps: Apps, viewer: Visitor, events: list[Stored]
) -> None:
    """As `/v1/names` has them; a click is the filter."""
    page = viewer.get(path(apps, f"{RANGE}&event=view"))
    (use,) = [each for each in asked.ask("/v1/names")["names"] if each["name"] == "view"]
    menu = page.text.partition('<aside class="menu"')[2]
    assert f"latest {use['sampled']:,} events of this name" in menu
    plan = next(each for each in use["parameters"] if each["path"] == ["params", "plan"])
    values = [each["value"] for each in plan["top"]]
    assert {"pro", "5"} < {*values}
    fields = menu.partition("<b>plan</b>")[2].partition("</details>")[0]
    links = [html.unescape(each) for each in re.findall(r'<a href="([^"]*)"', fields)]
    for value, link in zip(values, links, strict=False):
        (where,) = reading.query(link)["where"]
        assert conditions.read_all("where", [where]) == Condition(("params", "plan"), "eq", value)
        meant = oracle.meant(Selection("view", conditions.read_all("where", [where])), events)
        assert reading.total(viewer.get(link)) == len(meant) > 0
    assert re.search(r"<b>plan</b> <span[^>]*>text or [a-z ]*number", menu)


@pytest.mark.usefixtures("events")
def test_menu_of_all_names_merges_their_parameters(
    asked: Asked, apps: Apps, viewer: Visitor
) -> None:
    """Each parameter is there once, with the values of all."""
    page = viewer.get(path(apps, RANGE))
    names = asked.ask("/v1/names?top=10")["names"]
    paths = Counter(tuple(p["path"]) for use in names for p in use["parameters"])
    summaries = re.findall(r"<summary><b>(.*?)</b>", page.text)
    assert len(summaries) == len(set(summaries)) == len(paths)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("from=yesterday", "from: write a day"),
        ("from=2026-03-05&to=2026-03-01", "to: it must be later than from"),
        ("where=plan", "where: write FIELD:OPERATOR:VALUE"),
        ("where=params.plan:is:pro", "where: the operators are"),
        ("sort=name", "sort: there is no such parameter"),
        ("intervall=day", "did you mean interval?"),
        ("interval=minute", "interval: write one of"),
        ("interval=hour&last=12mo", "interval: there is room for 400 bars"),
        ("before=x", "before: write a day"),
        ("before=2026-01-01,x", "before: write AT,ID"),
        ("timezone=Mars", "timezone: "),
        ("last=forever", "last: write a number and a unit"),
        ("first_day=x&last_day=2026-03-03", "from: write a day"),
        ("last_day=9999-12-31", "to: it is too late"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_on_the_page(
    apps: Apps, viewer: Visitor, query: str, told: str
) -> None:
    """With its filters, so that the wrong one can be taken away."""
    page = viewer.get(path(apps, query))
    assert page.status_code == 400
    assert told in reading.text(page.text)
    assert "begin anew" in page.text
    if "where" in query:
        assert 'aria-label="Take this away' in page.text


@pytest.mark.usefixtures("events")
def test_empty_list_says_what_to_do(
    apps: Apps, admit: Admit, viewer: Visitor, own_app: str
) -> None:
    """Other filters, a longer range, a name that was meant, or the first event."""
    page = viewer.get(path(apps, f"{RANGE}&event=VIEW&where=params.plan:eq:none"))
    assert "No event matches" in page.text
    assert reading.link(page, "Take the filters away") == path(apps, RANGE)
    assert "last=30d" in (reading.link(page, "30 days") or "")
    meant = path(apps, f"{RANGE}&where=params.plan%3Aeq%3Anone&event=view")
    assert reading.link(page, "view") == meant
    empty = admit(Role.VIEWER, own_app).get(path(apps, app=own_app))
    assert "No event has arrived yet" in empty.text
    assert reading.link(empty, "Watch for the first one") == path(apps, page="live", app=own_app)


def test_what_fails_on_a_page_leaves_the_rest_of_it(apps: Apps, viewer: Visitor) -> None:
    """A filter that is too long is said in the place of its figure, and the menu is there."""
    page = viewer.get(path(apps, f"{RANGE}&where=params.plan:eq:{'x' * 1001}"))
    assert page.status_code == 200
    assert "1000 characters" in page.text
    assert '<aside class="menu"' in page.text
    assert page.text.rstrip().endswith("</html>")


def test_menu_of_a_rare_name_is_of_the_events_listed(
    asked: Asked, apps: Apps, admit: Admit, own_app: str
) -> None:
    """Where none of it is among the latest ones, of which menus are made."""
    at = "2026-01-05T00:00:00Z"
    rare = {"event_name": "rare", "event_params": {"kind": "odd", "n": 1}, "timestamp": at}
    asked.send(rare, rare, app=own_app)
    now = datetime.now(UTC).isoformat()
    asked.send(
        *({"event_name": "often", "event_params": {}, "timestamp": now},) * 1_000, app=own_app
    )

    def is_known() -> bool:
        found = asked.ask("/v1/names", own_app)["names"]
        names = {each["name"]: each["sampled"] for each in found}
        return names.get("rare") == 0 and names.get("often", 0) >= 1_000

    wait_for(is_known)
    query = "event=rare&from=2026-01-05&to=2026-01-06"
    page = admit(Role.VIEWER, own_app).get(path(apps, query, app=own_app))
    assert "As seen in the 2 events listed here" in reading.text(page.text)
    link = reading.link(page, "odd")
    assert link
    assert reading.query(link)["where"] == ["params.kind:eq:odd"]


def test_next_page_has_the_menu_of_the_first(
    asked: Asked, apps: Apps, admit: Admit, own_app: str
) -> None:
    """Nothing but its rows is asked for again; the first page itself has what is new."""
    viewer, first = admit(Role.VIEWER, own_app), path(apps, app=own_app)
    asked.send(*({"event_name": "turned"} for _ in range(51)), app=own_app)
    older = re.search(r'href="([^"]*before=[^"]*)"', viewer.get(first).text)
    assert older is not None
    asked.send({"event_name": "brand_new"}, app=own_app)
    second = viewer.get(html.unescape(older[1])).text
    assert "turned" in second
    assert "brand_new" not in second
    wait_for(lambda: "brand_new" in viewer.get(first).text)
