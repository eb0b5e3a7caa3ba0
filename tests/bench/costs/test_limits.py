"""The `limits` command: senders with limits and without take turns, and nobody else is counted."""

import json
from pathlib import Path

from click.testing import CliRunner

from bench.cli import command
from bench.costs.limits import FREE, GROWTH, KINDS, OF_APP, OF_BOTH, REFUSED, LimitsResult, _amiss
from tests.support.server import ROOT


def measured(void: str = "", growth: float = 1.0, take_us: float = 0.1) -> LimitsResult:
    """Return what some rounds would have found."""
    costs = {kind.name: [10.0, 20.0] for kind in KINDS}
    before = [10.0 / growth, 20.0 / growth]
    return LimitsResult(3, 2, costs, before, {OF_APP.name: take_us}, [void] if void else [])


def test_every_kind_is_measured_and_so_is_another_checkout(here: str, tmp_path: Path) -> None:
    """Figures on the screen and in JSON, one a round for each."""
    assert here
    path = tmp_path / "limits.json"
    options = ("--rounds", "2", "--requests", "200", "--connections", "4")
    arguments = ["limits", *options, "--before", str(ROOT), "--json", str(path)]
    ran = CliRunner().invoke(command, arguments)
    assert ran.exit_code == 0, ran.output
    assert "no limits / before: " in ran.output
    found = json.loads(path.read_bytes())
    assert found["void"] == []
    assert list(found["us_per_request"]) == [kind.name for kind in KINDS]
    for costs in (*found["us_per_request"].values(), found["us_per_request_before"]):
        assert len(costs) == 2
        assert min(costs) > 0
    assert list(found["take_us"]) == [OF_APP.name, OF_BOTH.name]


def test_what_is_missed_is_said() -> None:
    """A dearer event, dearer counting, and a run that doesn't count."""
    assert [each[3] for each in measured().reached] == [True, True]
    assert [each[3] for each in measured(growth=GROWTH.value + 0.01).reached] == [True, False]
    assert [each[3] for each in measured(take_us=0.31).reached] == [False, True]
    assert [each[3] for each in measured(void="x").reached] == [False, False]


def test_answers_that_should_not_be_make_it_void() -> None:
    """Of other statuses, of limits that were reached or not, and of rows that are not there."""
    assert _amiss(FREE, {200: 100}, 100) == []
    assert _amiss(REFUSED, {200: 2, 429: 98}, 2) == []
    assert _amiss(FREE, {200: 99, 500: 1}, 99) == ["no limits: 1 answers of 500"]
    assert _amiss(FREE, {200: 50, 429: 50}, 50) == ["no limits: 50 let in, 50 refused"]
    assert _amiss(REFUSED, {200: 50, 429: 50}, 50) == ["refused: 50 let in, 50 refused"]
    assert _amiss(FREE, {200: 100}, 99) == ["no limits: 100 let in, 99 rows"]
