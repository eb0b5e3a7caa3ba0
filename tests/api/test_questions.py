"""What is asked by an address is what the engine is asked, and its answer comes back."""

import time

import pytest

from tests.api.asked import Asked

DAY = "2026-03-0{}T12:00:00Z"


def event(name: str, day: int, person: str, **params: object) -> dict[str, object]:
    """Return an event of a day in March."""
    return {
        "event_name": name,
        "event_params": {"user_id": person, **params},
        "timestamp": DAY.format(day),
    }


@pytest.fixture(scope="module")
def march(asked: Asked) -> Asked:
    """Three days of two people."""
    asked.send(
        event("view", 1, "ann", plan="pro", amount=10),
        event("view", 1, "bob", plan="free", amount=1),
        event("buy", 2, "ann", plan="pro", amount=30),
        event("view", 3, "ann", plan="a|b", amount=5),
    )
    return asked


RANGE = "from=2026-03-01&to=2026-03-04"


def totals(asked: Asked, query: str) -> dict[str | None, float]:
    """Return the totals of a trend, by value."""
    series = asked.ask(f"/v1/trends?{RANGE}&{query}")["series"]
    return {each["value"]: each["total"] for each in series}


def test_trends(march: Asked) -> None:
    """Counts by day, of an event, of all; people; a sum; a breakdown; filters."""
    (line,) = march.ask(f"/v1/trends?{RANGE}&event=view")["series"]
    assert (line["values"], line["total"]) == ([2, 0, 1], 3)
    assert totals(march, "") == {None: 4}
    assert totals(march, "measure=people") == {None: 2}
    assert totals(march, "measure=sum:params.amount") == {None: 46}
    assert totals(march, "breakdown=params.plan") == {"pro": 2, "free": 1, "a|b": 1}
    assert totals(march, "where=params.plan:eq:pro&where=params.amount:gt:10") == {None: 1}
    assert totals(march, 'where=params.plan:eq:free|params.plan:eq:"a|b"') == {None: 2}


def test_days_are_the_zones(march: Asked) -> None:
    """The question as it was understood says so."""
    query = "/v1/trends?from=2026-03-29&to=2026-03-30&timezone=Europe/Berlin&interval=hour"
    body = march.get(query).json()
    assert len(body["data"]["buckets"]) == 23
    assert body["question"]["start"] == "2026-03-29T00:00:00+01:00"
    assert body["question"]["timezone"] == "Europe/Berlin"


def test_funnel_and_retention(march: Asked) -> None:
    """Ann bought; both came in the first week."""
    (group,) = march.ask(f"/v1/funnel?{RANGE}&step=view&step=buy&window=2d")["groups"]
    assert [step["people"] for step in group["steps"]] == [2, 1]
    cohorts = march.ask(f"/v1/retention?{RANGE}&interval=day&kind=recurring")["cohorts"]
    assert [each["people"] for each in cohorts] == [2, 1, 1]


def test_events_come_by_pages_of_which_none_is_missed(march: Asked) -> None:
    """`before` is the last answer's."""
    names, before = [], ""
    while True:
        data = march.ask(f"/v1/events?{RANGE}&limit=3{before}")
        names += [each["name"] for each in data["events"]]
        if data["before"] is None:
            break
        before = f"&before={data['before']['at']},{data['before']['id']}"
    assert names == ["view", "buy", "view", "view"]
    assert [e["name"] for e in march.ask("/v1/people/bob/events")["events"]] == ["view"]


def test_names_are_there_with_their_parameters(march: Asked) -> None:
    """A new event is in the menu at once."""
    march.send({"event_name": "new", "event_params": {"x": 1}})
    time.sleep(1)
    names = march.ask("/v1/names")["names"]
    (new,) = [each for each in names if each["name"] == "new"]
    assert [each["path"] for each in new["parameters"]] == [["params", "x"]]


def test_event_is_in_an_answer_a_second_after_its_200(march: Asked) -> None:
    """Though the same was asked a moment before."""
    query = "/v1/trends?event=fresh"
    for count in (1, 2):
        march.ask(query)
        march.send({"event_name": "fresh"})
        time.sleep(1)
        assert march.ask(query)["series"][0]["total"] == count
