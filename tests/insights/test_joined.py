"""Who is who: against the definition in plain Python, and in each kind of question."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.insights.answers import (
    EventsAnswer,
    FunnelAnswer,
    PeopleAnswer,
    RetentionAnswer,
    TrendsAnswer,
)
from ingest.insights.engine import answer
from ingest.insights.joined import FEW, LINKS_MAX, Joined
from ingest.insights.questions import (
    Condition,
    Either,
    Events,
    Filter,
    Funnel,
    Measure,
    Operator,
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
        "CREATE OR REPLACE TABLE said AS SELECT unnest($1::VARCHAR[]) AS joined,"
        " unnest($2::VARCHAR[]) AS person, unnest($3::VARCHAR[]) = 'sign-in' AS is_sign_in,"
        " unnest($3::VARCHAR[]) = 'merge' AS is_merge, unnest($4::BIGINT[]) AS at_us",
        [list(each) for each in zip(*links, strict=True)] or [[], [], [], []],
    )
    return "said"


def pairs_of(connection: duckdb.DuckDBPyConnection, found: Joined) -> list[tuple[str, str]]:
    """Return whose each id is that is another's."""
    return connection.execute(f"SELECT id, person FROM {found.table}").fetchall()


def people_of(links: list[Link]) -> dict[str, str]:
    """Return the same, as the docstring has it."""
    users = {each.person for each in links if each.kind == "sign-in"}
    first: dict[str, Link] = {}
    for each in sorted(map(partial(_turned, users), links), key=_in_order):
        if each.kind == "merge" or each.joined not in users:
            first.setdefault(each.joined, each)
    first = {each: link for each, link in first.items() if link.person != each}
    return {each: _last(each, first) for each in first if _last(each, first) != each}


def _turned(users: set[str], link: Link) -> Link:
    if link.kind != "merge" and link.joined in users and link.person not in users:
        return link._replace(joined=link.person, person=link.joined)
    return link


def _in_order(link: Link) -> tuple[bool, int, str]:
    is_merge = link.kind == "merge"
    return not is_merge, -link.at if is_merge else link.at, link.person


def _last(one: str, first: dict[str, Link]) -> str:
    seen = [one]
    while (link := first.get(seen[-1])) is not None:
        if link.person in seen:
            circle = seen[seen.index(link.person) :]
            return min(circle, key=lambda each: (first[each].at, each))
        seen.append(link.person)
    return seen[-1]


def _links() -> st.SearchStrategy[list[Link]]:
    ids = st.sampled_from("abcdefghijkl")
    kinds = st.sampled_from(["sign-in", "alias", "alias", "merge"])
    one = st.builds(Link, ids, ids, kinds, st.integers(0, 3))
    return st.lists(
        one.filter(lambda link: link.joined != link.person or link.kind == "merge"), max_size=14
    )


@settings(deadline=None)
@given(_links())
def test_people_are_those_of_the_definition(links: list[Link]) -> None:
    """Chains, circles, those who lead into one, two links of one moment."""
    with duckdb.connect() as connection:
        joined = Joined(connection, links_of(connection, links))
        found = pairs_of(connection, joined)
        assert dict(found) == people_of(links)
        assert len(found) == len(dict(found))
        for one, person in found:
            told, *others = joined.ids_of(one)
            assert told == person
            assert others == sorted(each for each, whose in found if whose == person)


@pytest.mark.parametrize("end", ["of a chain", "of a circle"])
def test_as_many_links_are_followed_as_may_be(end: str) -> None:
    """All of a chain, or of a circle, have one person; of one that is longer it ends."""
    for count in (LINKS_MAX, 10_000):
        links = [Link(f"{n:05}", f"{n + 1:05}", "alias") for n in range(count)]
        if end == "of a circle":
            links[-1] = links[-1]._replace(person="00000")
        with duckdb.connect() as connection:
            found = dict(pairs_of(connection, Joined(connection, links_of(connection, links))))
        assert len(found) >= count - 1
        if count == LINKS_MAX:
            assert set(found.values()) == {"00000" if end == "of a circle" else f"{count:05}"}


def test_people_are_made_once_of_the_same_links() -> None:
    """Whoever asks next; and anew of others."""
    with duckdb.connect() as connection:
        links_of(connection, [Link("a", "b")])
        for name in ("one", "one", "two"):
            connection.execute(f"CREATE OR REPLACE VIEW {name} AS FROM said")
            found = Joined(connection, name)
            assert pairs_of(connection, found) == [("a", "b" if name == "one" else "c")]
            links_of(connection, [Link("a", "c")])
        tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        assert sorted(tables) == [("joined_by_two",), ("said",)]


def found_of(*links: Link) -> dict[str, str]:
    """Return whose each id is that is another's."""
    with duckdb.connect() as connection:
        return dict(pairs_of(connection, Joined(connection, links_of(connection, list(links)))))


def test_two_users_of_one_device_stay_two() -> None:
    """The anonymous id is the first one's; an alias at the second sign-in changes nothing."""
    links = [
        Link("anonymous", "ada", at=1),
        Link("anonymous", "bob", at=2),
        Link("phone", "bob", at=2),
        Link("ada", "bob", "alias", at=2),
    ]
    apart = {"anonymous": "ada", "phone": "bob"}
    assert found_of(*links) == apart
    on_purpose = Link("ada", "bob", "merge", at=3)
    assert found_of(*links, on_purpose) == dict.fromkeys((*apart, "ada"), "bob")


def test_alias_stays_when_one_of_both_signs_in() -> None:
    """Whichever way round it was said; and on purpose counts before what was said earlier."""
    alias = Link("user", "anonymous", "alias", at=1)
    assert found_of(alias) == {"user": "anonymous"}
    assert found_of(alias, Link("phone", "user", at=2)) == {"anonymous": "user", "phone": "user"}


def test_what_is_said_last_on_purpose_counts() -> None:
    """Before what was said otherwise; so it can be mended, turned round, and taken back."""
    sign_in = Link("a", "ada")
    assert found_of(sign_in, Link("a", "bob", "merge", at=9)) == {"a": "bob"}
    wrong = Link("a", "wrong", "merge", at=1)
    assert found_of(sign_in, wrong, Link("a", "right", "merge", at=2)) == {"a": "right"}
    assert found_of(sign_in, wrong, Link("a", "a", "merge", at=2)) == {}
    assert found_of(Link("a", "b", "merge", at=1), Link("b", "a", "merge", at=2)) == {"b": "a"}
    assert found_of(Link("b", "a", "merge", at=1), Link("a", "b", "merge", at=2)) == {"a": "b"}


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
    tmp_path: Path, operator: Operator, value: str, count: int
) -> None:
    """Not with the id that an event carries."""
    where = Condition(("person",), operator, value)
    found = ask(tmp_path, Events(Selection("visit", where), *_RANGE), 2)
    assert isinstance(found, EventsAnswer)
    assert len(found.events) == count


def test_without_links_an_id_is_a_person(tmp_path: Path) -> None:
    """As of an app that has none."""
    with world(tmp_path, _EVENTS) as made:
        found = made.ask(Trends((Selection("visit"),), *_RANGE, "week", "UTC", Measure("people")))
    assert isinstance(found, TrendsAnswer)
    assert found.series[0].total == 3


@pytest.mark.parametrize("count", [FEW - 1, FEW, 3 * FEW])
def test_person_of_many_ids_is_found(tmp_path: Path, count: int) -> None:
    """By an id among them, in a filter beside others, and not."""
    ids = [f"a{n:04}" for n in range(count)]
    events = [_event(n / count, "visit", each) for n, each in enumerate([*ids, "bob"])]
    with world(tmp_path, events[: count // 2], events[count // 2 :]) as made:
        links = links_of(made.connection, [Link(each, "ada") for each in ids])

        def total(where: Filter) -> object:
            question = Trends((Selection("visit", where),), *_RANGE, "week", "UTC")
            found = answer(made.connection, made.sources, question, LATER, None, links)
            assert isinstance(found, TrendsAnswer)
            return found.series[0].total

        whose = Condition(("person",), "eq", ids[-1])
        assert total(whose) == count
        assert total(Either((whose, Condition(("person",), "eq", "bob")))) == count + 1
        assert total(Condition(("person",), "ne", "ada")) == 1
        page = answer(made.connection, made.sources, PersonEvents("ada"), LATER, None, links)
        assert isinstance(page, EventsAnswer)
        assert len(page.events) == min(100, count)
