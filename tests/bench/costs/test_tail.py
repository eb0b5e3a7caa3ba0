"""The `tail` command: both sides are measured, and every row is accounted for."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import command
from bench.costs.tail import RATIO, Round, TailResult
from tests.support.postgres import fetch, meddle

pytestmark = pytest.mark.slow

VOID = 3


def tail(*arguments: str) -> Result:
    """Run `python -m bench tail`, very short."""
    options = ("--rounds", "1", "--seconds", "0.5", "--connections", "8")
    return CliRunner().invoke(command, ["tail", *options, *arguments])


def measured(*ratios: float, void: str = "") -> TailResult:
    """Return what rounds with these ratios would have found."""
    rounds = [
        Round({"p99": ratio}, {"p99": 1.0}, {"p99": 0.5}, 1, 1, 1.0, 1, 1.0, 1.0, 1.0, 1.0)
        for ratio in ratios
    ]
    return TailResult(8, 1, rounds, [void] if void else [])


def test_both_sides_are_measured_and_every_row_is_accounted_for(here: str, tmp_path: Path) -> None:
    """Figures on the screen and in JSON; the bare COPYs are the server's in size and pace."""
    ran = tail("--json", str(tmp_path / "tail.json"))
    assert ran.exit_code == 0, ran.output
    assert "answer / COPY, p99" in ran.output
    found = json.loads((tmp_path / "tail.json").read_bytes())
    assert found["void"] == []
    (each,) = found["rounds"]
    for side in ("answer_ms", "copy_ms", "alone_ms"):
        assert 0 < each[side]["p50"] <= each[side]["p99"] <= each[side]["max"]
    assert found["ratio"] == each["answer_ms"]["p99"] / each["copy_ms"]["p99"]
    assert 1 <= each["rows"] <= 8
    assert each["answers"] > each["copies"] > 0
    assert 0 < each["copies_per_s"] <= each["server_copies_per_s"] * 1.05
    (row,) = asyncio.run(fetch(here, "SELECT count(*), count(DISTINCT id) AS ids FROM events"))
    assert row["count"] == row["ids"] > each["copies"] * each["rows"]


def test_run_whose_rows_do_not_add_up_is_void(here: str) -> None:
    """A database that loses a row after each commit: exit code 3, and no verdict."""
    meddle(here, "DELETE FROM events WHERE id IN (SELECT id FROM inserted)")
    ran = tail()
    assert ran.exit_code == VOID, ran.output
    assert "acknowledged, 0 rows" in ran.output
    assert "copied, 0 rows" in ran.output
    assert "passed" not in ran.output


def test_verdict_is_of_the_median_round() -> None:
    """One bad round does not decide, and a void run never passes."""
    assert measured(1.0, 1.1, 9.0).is_reached
    assert measured(1.0, 1.1, 9.0).ratio == 1.1
    assert not measured(1.0, RATIO.value + 0.01, 9.0).is_reached
    assert not measured(1.0, void="1 answers of 503").is_reached
