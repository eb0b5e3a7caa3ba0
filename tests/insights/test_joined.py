"""Who is who: against the definition in plain Python, and in each kind of question."""

from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.insights import joined
from ingest.insights.answers import (
    EventsAnswer,
    FunnelAnswer,
    PeopleAnswer,
    RetentionAnswer,
    TrendsAnswer,
)
from ingest.insights.engine import answer
from ingest.insights.questions import (
    Condition,
    Events,
    Funnel,
    Measure,
    People,
    PersonEvents,
    Question,
    Retention,
    Selection,
    Trends,
)
from tests.insights.world import CHANGES, LATER, Stored, world

_START = CHANGES[-1]
_DAY = timedelta(days=1)


class Link(NamedTuple):
    """What an event says of two ids."""

    joined: str
    person: str
    kind: str = "sign-in"
    at: int = 0


def links_of(connection: duckdb.DuckDBPyConnection, links: list[Link]) -> str:
    """Make a table of links; return its name."""
    connection.execute(
        "CREATE OR REPLACE TABLE said (joined VARCHAR, person VARCHAR, is_sign_in BOOLEAN,"
        " is_merge BOOLEAN, at_us BIGINT)"
    )
    for each in links:
        row = (each.joined, each.person, each.kind == "sign-in", each.kind == "merge", each.at)
        connection.execute("INSERT INTO said VALUES ($1, $2, $3, $4, $5)", row)
    return "said"


def people_of(links: list[Link]) -> dict[str, str]:
    """Return whose each id is, as the docstring has it."""
    users = {each.person for each in links if each.kind == "sign-in"}
    first: dict[str, str] = {}
    for each in sorted(links, key=lambda link: (link.at, link.person)):
        if each.kind == "merge" or each.joined not in users:
            first.setdefault(each.joined, each.person)
    return {each: _last(each, first) for each in first if _last(each, first) != each}


def _last(one: str, first: dict[str, str]) -> str:
    seen = [one]
    while (following := first.get(seen[-1])) is not None:
        if following in seen:
            return min(seen[seen.index(following) :])
        seen.append(following)
    return seen[-1]


def _links() -> st.SearchStrategy[list[Link]]:
    ids = st.sampled_from("abcdefghijkl")
    kinds = st.sampled_from(["sign-in", "alias", "alias", "merge"])
    one = st.builds(Link, ids, ids, kinds, st.integers(0, 3))
    return st.lists(one.filter(lambda link: link.joined != link.person), max_size=14)


@settings(deadline=None)
@given(_links())
def test_people_are_those_of_the_definition(links: list[Link]) -> None:
    """Chains, circles, those who lead into one, two links of one moment."""
    with duckdb.connect() as connection:
        joined.make(connection, links_of(connection, links))
        found = connection.execute(f"SELECT id, person FROM {joined.TABLE}").fetchall()
        assert dict(found) == people_of(links)
        assert len(found) == len(dict(found))
        for one, person in found:
            assert set(joined.ids_of(connection, one)) == {
                person,
                *(each for each, whose in found if whose == person),
            }


def test_long_chains_and_circles_end() -> None:
    """Of ten thousand links, one behind the other."""
    count = 10_000
    chain = [Link(f"{n:05}", f"{n + 1:05}", "alias") for n in range(count)]
    with duckdb.connect() as connection:
        for links in (chain, [*chain, Link(f"{count:05}", "00007", "alias")]):
            rows = [(each.joined, each.person) for each in links]
            connection.execute(
                "CREATE OR REPLACE TABLE said AS SELECT unnest($1::VARCHAR[]) AS joined,"
                " unnest($2::VARCHAR[]) AS person, false AS is_sign_in, false AS is_merge,"
                " 0::BIGINT AS at_us",
                [list(each) for each in zip(*rows, strict=True)],
            )
            joined.make(connection, "said")
            people = connection.execute(f"SELECT DISTINCT person FROM {joined.TABLE}").fetchall()
            assert people == [(f"{count:05}",) if links is chain else ("00007",)]


def test_two_users_of_one_device_stay_two() -> None:
    """The anonymous id is the first one's; an alias at the second sign-in changes nothing."""
    links = [
        Link("anonymous", "ada", at=1),
        Link("anonymous", "bob", at=2),
        Link("ada", "bob", "alias", at=2),
    ]
    assert people_of(links) == {"anonymous": "ada"}
    assert people_of([*links, Link("ada", "bob", "merge", at=3)]) == {
        "anonymous": "bob",
        "ada": "bob",
    }


def _event(day: float, name: str, person: str | None, **params: object) -> Stored:
    return Stored(uuid4(), _START + day * _DAY, name, person, dict(params))


_EVENTS = [
    _event(0, "visit", "anonymous", plan="free"),
    _event(0.5, "sign up", "ada", plan="free"),
    _event(1, "visit", "phone", plan="pro"),
    _event(1.5, "visit", "bob"),
    _event(1.6, "visit", None),
    _event(8, "buy", "ada", plan="pro"),
]
_SAID = [Link("anonymous", "ada"), Link("phone", "ada", "alias")]
_RANGE = (_START - _DAY, _START + 14 * _DAY)


def ask(directory: Path, question: Question, parts: int) -> object:
    """Ask about these events, with the latest ones in the tail."""
    with world(directory, *([_EVENTS[:3], _EVENTS[3:]] if parts > 1 else [_EVENTS])) as made:
        links = links_of(made.connection, _SAID)
        return answer(made.connection, made.sources, question, LATER, None, links)


@pytest.mark.parametrize("parts", [1, 2])
def test_people_are_counted_once(tmp_path: Path, parts: int) -> None:
    """Of a trend: by bucket, in all, and by a breakdown of the person."""
    visits = (Selection("visit"),)
    question = Trends(visits, *_RANGE, "week", "UTC", Measure("people"))
    found = ask(tmp_path, question, parts)
    assert isinstance(found, TrendsAnswer)
    assert found.series[0].total == 2
    by_person = Trends(visits, *_RANGE, "week", "UTC", breakdown=("person",))
    found = ask(tmp_path, by_person, parts)
    assert isinstance(found, TrendsAnswer)
    assert {(each.value, each.total) for each in found.series} == {
        ("ada", 2),
        ("bob", 1),
        (None, 1),
    }


@pytest.mark.parametrize("parts", [1, 2])
def test_funnel_begins_before_the_sign_in(tmp_path: Path, parts: int) -> None:
    """What was done without a name is the user's own."""
    steps = (Selection("visit"), Selection("sign up"), Selection("buy"))
    found = ask(tmp_path, Funnel(steps, *_RANGE, window=20 * _DAY), parts)
    assert isinstance(found, FunnelAnswer)
    assert [step.people for step in found.groups[0].steps] == [2, 1, 1]


@pytest.mark.parametrize("parts", [1, 2])
def test_who_comes_back_signed_in_is_back(tmp_path: Path, parts: int) -> None:
    """In the week after the first visit, under another id."""
    anything = Selection(None)
    question = Retention(anything, anything, *_RANGE, interval="week", timezone="UTC")
    found = ask(tmp_path, question, parts)
    assert isinstance(found, RetentionAnswer)
    cohort = next(each for each in found.cohorts if each.people)
    assert (cohort.people, cohort.back[1]) == (2, 1)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("whose", ["ada", "anonymous", "phone"])
def test_person_is_found_by_each_of_their_ids(tmp_path: Path, whose: str, parts: int) -> None:
    """All of their events, told as the person's; in lists, filters and counts."""
    found = ask(tmp_path, PersonEvents(whose), parts)
    assert isinstance(found, EventsAnswer)
    assert [(each.name, each.person) for each in found.events] == [
        ("buy", "ada"),
        ("visit", "ada"),
        ("sign up", "ada"),
        ("visit", "ada"),
    ]
    selection = Selection("visit", Condition(("person",), "eq", whose))
    found = ask(tmp_path, Events(selection, *_RANGE), parts)
    assert isinstance(found, EventsAnswer)
    assert len(found.events) == 2
    found = ask(tmp_path, People(selection, *_RANGE), parts)
    assert isinstance(found, PeopleAnswer)
    assert [(each.id, each.count) for each in found.people] == [("ada", 2)]
    others = Selection("visit", Condition(("person",), "ne", whose))
    found = ask(tmp_path, Events(others, *_RANGE), parts)
    assert isinstance(found, EventsAnswer)
    assert [each.person for each in found.events] == [None, "bob"]


@pytest.mark.parametrize(
    ("operator", "value", "count"),
    [("contains", "ad", 2), ("contains", "phone", 0), ("gt", "b", 1), ("lt", "b", 2)],
)
def test_other_comparisons_are_with_the_person(
    tmp_path: Path, operator: str, value: str, count: int
) -> None:
    """Not with the id that an event carries."""
    where = Condition(("person",), operator, value)  # type: ignore[arg-type]
    found = ask(tmp_path, Events(Selection("visit", where), *_RANGE), 2)
    assert isinstance(found, EventsAnswer)
    assert len(found.events) == count


def test_without_links_an_id_is_a_person(tmp_path: Path) -> None:
    """As of an app that has none."""
    with world(tmp_path, _EVENTS) as made:
        found = made.ask(Trends((Selection("visit"),), *_RANGE, "week", "UTC", Measure("people")))
    assert isinstance(found, TrendsAnswer)
    assert found.series[0].total == 3
