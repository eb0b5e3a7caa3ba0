"""The menu counts names exactly, and says what it has looked into."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from ingest.insights import menu
from ingest.insights.answers import NamesAnswer, Parameter
from ingest.insights.questions import Names
from tests.insights.world import Stored, World, world

AT = datetime(2026, 6, 15, tzinfo=UTC)


def asked(one: World, *sources: str) -> NamesAnswer:
    """Ask for the menu, of some sources only where they are named."""
    found = World(one.connection, sources or one.sources).ask(Names(top=2))
    assert isinstance(found, NamesAnswer)
    return found


def test_menu_has_names_parameters_types_and_top_values(tmp_path: Path) -> None:
    """Of mixed types, within objects too."""
    sent: list[dict[str, Any]] = [
        {"plan": "pro", "cart": {"n": 1}},
        {"plan": 5, "cart": {}},
        {"plan": "pro"},
    ]
    rows = [Stored(UUID(int=n), AT, "buy", "a", params) for n, params in enumerate(sent)]
    with world(tmp_path, rows[:1], rows[1:]) as one:
        found = asked(one)
    (use,) = found.names
    assert (use.name, use.count, use.sampled, use.latest) == ("buy", 3, 3, AT)
    assert (found.events, found.sampled) == (3, 3)
    plan, cart, inner = sorted(use.parameters, key=lambda one: (-one.count, one.path))
    assert (plan.path, plan.count, plan.types) == (("params", "plan"), 3, {"text": 2, "number": 1})
    assert [(value.value, value.count) for value in plan.top] == [("pro", 2), ("5", 1)]
    assert (cart.path, cart.types, cart.top) == (("params", "cart"), {"object": 2}, ())
    assert inner == Parameter(("params", "cart", "n"), 1, {"number": 1}, inner.top)


def test_new_name_is_in_the_menu_at_once(tmp_path: Path) -> None:
    """Among thousands that are older, and that the sample leaves out."""
    old = [Stored(UUID(int=n), AT, "view", "a", {}) for n in range(menu.SAMPLE_MAX + 500)]
    new = [Stored(UUID(int=2**64), AT + timedelta(days=400), "new", "a", {"x": 1})]
    with world(tmp_path, old, new) as one:
        found = asked(one)
    assert [(use.name, use.count) for use in found.names] == [("view", len(old)), ("new", 1)]
    assert found.sampled == menu.SAMPLE_MAX
    assert found.names[1].parameters[0].path == ("params", "x")


def test_counts_that_are_known_are_not_made_again(tmp_path: Path) -> None:
    """Those of a file, beside what is in no file yet."""
    rows = [
        Stored(UUID(int=n), AT + n * timedelta(hours=1), f"view {n % 3}", "a", {"x": n % 2})
        for n in range(10)
    ]
    with world(tmp_path, rows[:7], rows[7:]) as one:
        known = one.connection.execute(
            f'SELECT name, count(*), epoch_us(max("at")) FROM {one.sources[0]} GROUP BY name'
        ).fetchall()
        twice = [(name, events, latest) for name, events, latest in known for _ in range(2)]
        assert menu_of(one, KnownNames(known, one.sources[1:])) == asked(one)
        assert menu_of(one, KnownNames(twice, one.sources[1:])).events == 7 + len(rows)


class KnownNames:
    """What is known of names."""

    ends = (AT, AT + timedelta(days=1))
    archived = 10

    def __init__(self, counts: list[tuple[str, int, int]], others: tuple[str, ...]) -> None:
        """Know how often they are where the others are not."""
        self._known = counts, others

    def latest(self, limit: int, bytes_max: int) -> list[tuple[str, str]]:
        """Know of none."""
        return [] if limit and bytes_max else [("", "{}")]

    def names(self) -> tuple[list[tuple[str, int, int]], tuple[str, ...]]:
        """Return it."""
        return self._known


def menu_of(one: World, known: KnownNames) -> NamesAnswer:
    """Ask for the menu with what is known."""
    found = one.ask(Names(top=2), AT, known)
    assert isinstance(found, NamesAnswer)
    return found
