"""The `insights` command: both sides give one answer, and what was not done counts for nothing."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner

from bench.cli import command
from bench.console import Update
from bench.errors import BenchError
from bench.insights import asking, events, figures, filling, place, rows, runner
from bench.insights.events import Period
from bench.insights.questions import Kind, all_kinds
from bench.insights.result import Asked, Found, Load, LoadRound, Storage
from tests.support.postgres import fetch

pytestmark = pytest.mark.slow

VOID = 3
EVENTS = 3_000
START = datetime(2026, 3, 1, tzinfo=UTC)
PERIOD = Period(START, START + timedelta(days=60))
LOAD = Load(10_000.0, 5.0, 10.0, 5, 0.5)
ARCHIVING = place.Archiving(took_s=20_000_000 / 120_000, cpu_s=80.0, written_s=90, written_cpu_s=50)
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
FOUND = Found(
    events=20_000_000,
    asked=[Asked("names by day", [0.5], [0.4], [5.0], 0.5, [])],
    storage=Storage(100, 3_500, 1, 105, 30_000),
    archiving=ARCHIVING,
    fresh_s=[0.8, 1.0],
    loads=[LoadRound(LOAD, LOAD, LOAD)],
    faults=[],
    postgres=DURABLE,
)


OF_APP = "SELECT count(*) FROM events JOIN apps ON apps.id = app_id WHERE apps.name = $1"


@contextmanager
def no_bar(_: str, __: float) -> Iterator[Update]:
    """Show nothing."""
    yield lambda **_: None


def test_person_is_erased_and_nobody_else(here: str, tmp_path: Path) -> None:
    """The command itself, very small: by the product's own commands."""
    assert here
    path = tmp_path / "erase.json"
    options = ("--events", str(EVENTS), "--person-events", "20", "--json", str(path))
    ran = CliRunner().invoke(command, ["erase", *options])
    assert ran.exit_code == 0, ran.output
    found = json.loads(path.read_text())
    assert found["events"] > 1
    assert found["nothing_found"]
    assert found["is_verified"]


@pytest.mark.timeout(300)  # seconds of it wait for what is kept of an answer, and for loads
def test_run_asks_both_sides_and_measures_what_it_costs(here: str, tmp_path: Path) -> None:
    """The command itself, very small: nothing in it is held to a target."""
    path = tmp_path / "insights.json"
    options = ("--events", str(EVENTS), "--rounds", "1", "--load-seconds", "1")
    ran = CliRunner().invoke(command, ["insights", *options, "--json", str(path)])
    assert ran.exit_code == 0, ran.output
    found = json.loads(path.read_bytes())
    assert found["void"] == []
    assert len(found["asked"]) == 8
    for each in found["asked"]:
        assert each["differences"] == []
        assert min(*each["ours_s"], *each["sql_s"]) > 0
    storage = found["storage"]
    assert (storage["archived"], storage["stored"]) == (EVENTS, EVENTS + EVENTS // 10)
    assert 0 < found["bytes_an_event"] < storage["postgres_bytes"] / storage["stored"]
    assert len(found["fresh_s"]) == 3
    (load,) = found["loads"]
    assert load["asked"]["questions"] > 0 < load["beside"]["events_per_s"]
    assert load["asked"]["cpu_share"] > load["alone"]["cpu_share"]
    # What probes have sent is gone again.
    (row,) = asyncio.run(fetch(here, OF_APP, filling.APP))
    assert row["count"] == EVENTS + EVENTS // 10


def test_event_that_one_side_lacks_is_found_by_every_question_about_it(here: str) -> None:
    """All are asked of a database that has lost a day, of which the archive knows."""
    with place.opened(None) as where:
        site = filling.prepared(where, EVENTS, no_bar)
        kinds = all_kinds(site.filled.period, EVENTS)
        assert [each.name for each in ask(site, kinds) if each.differences] == []
        lost = (
            "DELETE FROM events WHERE created_at"
            " BETWEEN (SELECT max(created_at) - interval '6 days' FROM events)"
            " AND (SELECT max(created_at) - interval '3 days' FROM events)"
        )
        asyncio.run(fetch(here, lost))
        found = ask(site, kinds)
        assert [each.name for each in found if not each.differences] == []
        assert all("SQL" in each.differences[0] for each in found)
        site.views.rest()


def ask(site: filling.Site, kinds: Sequence[Kind]) -> list[Asked]:
    """Ask all questions once."""
    return asking.ask(site, kinds, 1, lambda **_: None)


def test_kept_database_is_filled_once(
    here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run finds it, with the tail that it needs, and no other number of events."""
    where = place.Place(here, tmp_path / "archive", tmp_path / "filled.json")
    first = filling.prepared(where, EVENTS, no_bar)
    filling.archive(where, lambda **_: None)
    monkeypatch.setattr(filling, "_fill", None)
    second = filling.prepared(where, EVENTS, no_bar)
    assert second.filled == first.filled
    with second.views.view(app_id=second.app_id) as view:
        assert view.tail_rows == EVENTS // 10
    with pytest.raises(BenchError, match="3,000 events"):
        filling.prepared(where, EVENTS + 1, no_bar)
    first.views.rest()
    second.views.rest()


def test_events_are_of_the_shape_that_is_promised() -> None:
    """Ids of the time, some days late, many received together, few people with most of it."""
    chunk = events.chunk(7, PERIOD, 20_000, seed=1)
    assert chunk == events.chunk(7, PERIOD, 20_000, seed=1) != events.chunk(7, PERIOD, 20_000, 2)
    lines = [line.split("\t") for line in chunk.decode().splitlines()]
    assert len(lines) == 20_000
    assert {line[0] for line in lines} == {"7"}
    assert {line[2] for line in lines} == set(events.NAMES)
    created = [datetime.fromisoformat(line[4]) for line in lines]
    assert created == sorted(created)
    assert created[0] >= PERIOD.start
    assert created[-1] < PERIOD.end
    for line, at in zip(lines, created, strict=True):
        event_id = UUID(line[1])
        assert event_id.version == 7
        assert event_id.int >> 80 == at.timestamp() * 1000 // 1
    assert 0.2 < 1 - len(set(created)) / len(created) < 0.4
    late = [
        at - datetime.fromisoformat(line[5])
        for line, at in zip(lines, created, strict=True)
        if line[5] != "\\N"
    ]
    assert min(late) >= timedelta(0)
    assert 500 < sum(each > timedelta(hours=1) for each in late) < 1_500
    people = [json.loads(line[3]).get("user_id") for line in lines]
    assert 100 < people.count(None) < 300
    assert people.count(events.person(0)) > 100 > people.count(events.person(5_000))


def test_rest_of_a_breakdown_is_added_up() -> None:
    """Ten values by their totals and then their texts, those without one, and all others."""
    later = START + timedelta(days=1)
    counted = [(f"v{n:02}", START, 5) for n in range(12)]
    found = rows.of_groups([*counted, ("v11", later, 1), (None, START, 3), (None, later, 4)])
    values = {place[1] for place in found if place[0] == "value"}
    assert values == {"v11", *(f"v{n:02}" for n in range(9))}
    assert found["value", "v11", None] == 6
    assert found["other", None, START] == found["other", None, None] == 10
    assert (found["none", None, START], found["none", None, None]) == (3, 7)


def test_differences_are_named() -> None:
    """The first few of them; fractions are equal when they are as good as equal."""
    one = {("a", 1): 0.1 + 0.2, ("b",): 2, ("c",): 3, ("d",): 4, ("e",): 5}
    assert figures.differences(one, one | {("a", 1): 0.3}) == []
    found = figures.differences(one, {("a", 1): 0.30001, ("f",): 1})
    assert found[0] == "a 1: SQL 0.30000000000000004, ours 0.30001"
    assert found[-1] == "and at 3 more of 6 places"


def test_run_at_the_bounds_reaches_every_target() -> None:
    """All of them are inclusive."""
    assert FOUND.void == []
    assert [each.name for each in FOUND.targets if not each.is_reached] == []


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"asked": [Asked("x", [0.51], [0.1], [9.0], 0.5, [])]}, "x, s"),
        ({"asked": [Asked("x", [0.5], [0.1], [4.9], 0.5, [])]}, "x: SQL / ours"),
        ({"storage": Storage(100, 3_501, 1, 105, 30_000)}, "bytes an event"),
        ({"archiving": msgspec.structs.replace(ARCHIVING, took_s=166.7)}, "archived a second"),
        ({"fresh_s": [0.1, 0.1, 1.01]}, "from 200 to an answer"),
        (
            {"loads": [LoadRound(LOAD, msgspec.structs.replace(LOAD, p99_ms=15.1), LOAD)]},
            "acknowledgements' p99",
        ),
        (
            {"loads": [LoadRound(LOAD, msgspec.structs.replace(LOAD, events_per_s=8_499), LOAD)]},
            "their rate",
        ),
    ],
)
def test_each_target_can_be_missed(changed: dict[str, object], missed: str) -> None:
    """One at a time."""
    found = msgspec.structs.replace(FOUND, **changed)
    (target,) = [each for each in found.targets if not each.is_reached]
    assert missed in target.name


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"asked": [Asked("x", [0.1], [0.1], [9.0], 0.5, ["a: SQL 1, ours 2"])]},
            "x: a: SQL 1, ours 2",
        ),
        ({"faults": ["5 acknowledged, 4 rows"]}, "5 acknowledged, 4 rows"),
        ({"postgres": DURABLE | {"fsync": "off"}}, "fsync is off"),
    ],
)
def test_run_that_does_not_count_is_void(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], why: str
) -> None:
    """Exit code 3, and no verdict."""
    found = msgspec.structs.replace(FOUND, **changed)
    monkeypatch.setattr(runner, "measure", lambda *_: found)
    ran = CliRunner().invoke(command, ["insights"])
    assert ran.exit_code == VOID
    assert f"VOID {why}" in ran.output
    assert "passed" not in ran.output
