"""The `idle` command: both sides are measured, and every row is accounted for."""

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner, Result

from bench.cli import command
from bench.costs.idle import RATIO, IdleResult, Round, RowDocument
from bench.load.payloads import example
from tests.support.postgres import fetch

VOID = 3


def idle(*arguments: str) -> Result:
    """Run `python -m bench idle`, very short."""
    return CliRunner().invoke(command, ["idle", "--rounds", "2", "--seconds", "0.1", *arguments])


def measured(*ratios: float, stored: int = 2) -> IdleResult:
    """Return what rounds with these ratios would have found."""
    rounds = [Round({"p50": ratio}, {"p50": 1.0}, 1, 1) for ratio in ratios]
    return IdleResult(rounds, acknowledged=1, copied=1, stored=stored, faults=[])


def test_both_sides_are_measured_and_every_row_is_accounted_for(here: str, tmp_path: Path) -> None:
    """Figures on the screen and in JSON; the table has what was acknowledged and copied."""
    ran = idle("--json", str(tmp_path / "idle.json"))
    assert ran.exit_code == 0, ran.output
    assert "POST / COPY, p50" in ran.output
    found = json.loads((tmp_path / "idle.json").read_bytes())
    assert found["void"] == []
    assert len(found["rounds"]) == 2
    for each in found["rounds"]:
        assert 0 < each["post_ms"]["p50"] <= each["post_ms"]["p99"]
        assert 0 < each["copy_ms"]["p50"] <= each["copy_ms"]["p99"]
    (row,) = asyncio.run(fetch(here, "SELECT count(*), count(DISTINCT id) AS ids FROM events"))
    assert row["count"] == row["ids"] == found["acknowledged"] + found["copied"]
    assert found["acknowledged"] > sum(each["posts"] for each in found["rounds"]) > 0
    assert found["copied"] > sum(each["copies"] for each in found["rounds"]) > 0


def test_run_whose_rows_do_not_add_up_is_void(here: str) -> None:
    """A database that loses a row after each commit: exit code 3, and no verdict."""
    function = (
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " DELETE FROM events WHERE id IN (SELECT id FROM inserted); RETURN NULL; END $$"
    )
    trigger = (
        "CREATE TRIGGER lose AFTER INSERT ON events REFERENCING NEW TABLE AS inserted"
        " FOR EACH STATEMENT EXECUTE FUNCTION lose()"
    )
    for statement in (function, trigger):
        asyncio.run(fetch(here, statement))
    ran = idle()
    assert ran.exit_code == VOID, ran.output
    assert "VOID" in ran.output
    assert ", 0 rows" in ran.output
    assert "passed" not in ran.output


def test_verdict_is_of_the_median_round() -> None:
    """One bad round does not decide, and a void run never passes."""
    assert measured(1.0, 1.1, 9.0).is_reached
    assert measured(1.0, 1.1, 9.0).ratio == 1.1
    assert not measured(1.0, RATIO.value + 0.01, 9.0).is_reached
    assert not measured(1.0, stored=3).is_reached


def test_each_copied_row_has_an_id_of_its_own() -> None:
    """Only the id changes from one document to the next."""
    document = RowDocument(1, example())
    first, second = bytes(document.renew()), bytes(document.renew())
    differing = [at for at, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    assert differing
    assert differing[-1] - differing[0] < 16
