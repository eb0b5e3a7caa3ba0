"""The `outage` command: Postgres is killed and hung under load, and no event goes missing."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.load.tally import Tally
from bench.outage import report, result, runner
from bench.outage.command import outage
from bench.outage.result import Drain, Outage, OutageResult, Times
from bench.outage.senders import Answers, Statuses

pytestmark = pytest.mark.slow

VOID = 3
COMMIT_TIMEOUT_S = 0.5
QUICK = {"p50": 1.0, "p90": 2.0, "p99": 50.0, "p99.9": 60.0, "max": 70.0}
SLOW = QUICK | {"p99": 50.1}
GOOD = Outage(
    first_202_s=0.1,
    caught_up_s=0.2,
    seconds=10.0,
    statuses={202: 1_000},
    before_ms=QUICK,
    during_ms=QUICK,
    settled_ms=QUICK,
    ready_s=0.3,
    first_200_s=0.9,
)
FOUND = OutageResult(
    connections=64,
    rate_per_s=2_000.0,
    commit_timeout_s=5.0,
    ingest_per_s=20_000.0,
    killed=GOOD,
    hung=msgspec.structs.replace(GOOD, first_202_s=5.1, during_ms=SLOW),
    drain=Drain(spooled=500_000, spool_bytes=90_000_000, fill_per_s=30_000.0, seconds=5.0),
    statuses={200: 600_000, 202: 900_000},
    unanswered=0,
    stored=1_500_000,
    faults={},
)


def test_outages_are_met_and_every_event_is_accounted_for(tmp_path: Path) -> None:
    """The command itself, very short: nothing in it is held to a target."""
    arguments = ("--connections", "4", "--rate", "200", "--seconds", "0.3", "--events", "2000")
    place = tmp_path / "outage.json"
    ran = CliRunner().invoke(
        outage, [*arguments, "--commit-timeout", str(COMMIT_TIMEOUT_S), "--json", str(place)]
    )
    assert ran.exit_code == 0, ran.output
    found = json.loads(place.read_bytes())
    assert found["void"] == []
    assert found["acknowledged"] == found["stored"] == sum(found["statuses"].values())
    assert found["statuses"].keys() == {"200", "202"}
    assert found["drain"]["spooled"] >= 2_000
    assert found["replay_per_s"] > 0 < found["ingest_per_s"]
    for name in ("killed", "hung"):
        assert 0 < found[name]["first_202_s"] < found[name]["seconds"]
        assert found[name]["first_200_s"] > 0
        assert found[name]["statuses"].get("202", 0) > 0
        assert 0 < found[name]["during_ms"]["p50"] <= found[name]["during_ms"]["max"]
    # What is in flight when Postgres hangs began a little earlier.
    assert found["hung"]["first_202_s"] > COMMIT_TIMEOUT_S / 2
    assert found["hung"]["during_ms"]["max"] > COMMIT_TIMEOUT_S * 1000 / 2
    assert {each["target"] for each in found["targets"]} == {each.name for each in FOUND.targets}
    assert "replay / ingest" in ran.output


def test_run_at_the_bounds_reaches_every_target() -> None:
    """All of them are inclusive."""
    assert FOUND.void == []
    assert [each for each in FOUND.targets if not each.is_reached] == []


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"killed": msgspec.structs.replace(GOOD, first_202_s=0.101)}, "killed: the first"),
        ({"killed": msgspec.structs.replace(GOOD, first_202_s=None)}, "killed: the first"),
        ({"killed": msgspec.structs.replace(GOOD, during_ms=SLOW)}, "killed: p99"),
        ({"hung": msgspec.structs.replace(GOOD, first_202_s=5.11)}, "hung: the first"),
        ({"hung": msgspec.structs.replace(GOOD, settled_ms=SLOW)}, "hung: p99"),
        ({"statuses": {200: 1_499_999, 202: 1, 503: 1}}, "but 200 and 202"),
        ({"unanswered": 1}, "unanswered"),
        ({"ingest_per_s": 20_001.0}, "replay / ingest"),
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
        ({"faults": {"stored_twice": 2}}, "2 stored twice"),
        ({"stored": 1_499_999}, "1,500,000 acknowledged, 1,499,999 rows"),
        ({"stored": 1_500_001}, "1,500,000 acknowledged, 1,500,001 rows"),
        ({"stored": 1_500_002, "unanswered": 1}, "1,500,000 acknowledged, 1,500,002 rows"),
    ],
)
def test_run_whose_counts_differ_is_void(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], why: str
) -> None:
    """Exit code 3, and no verdict; only of an unanswered request nobody knows."""
    found = msgspec.structs.replace(FOUND, **changed)
    monkeypatch.setattr(runner, "measure", lambda *_: found)
    ran = CliRunner().invoke(outage)
    assert ran.exit_code == VOID
    assert f"VOID {why}" in ran.output
    assert "passed" not in ran.output
    assert msgspec.structs.replace(FOUND, stored=1_500_001, unanswered=1).void == []


def test_status_is_put_to_the_answer_that_it_came_with() -> None:
    """The tally keeps latencies of all answers in one place, and statuses but 200 in another."""
    tally = Tally(keeps_ids=False)
    tally.other_statuses = Statuses(tally)
    for number, status in enumerate((200, 202, 200, 503)):
        tally.took_s.append(number)
        if status != 200:
            tally.other_statuses.append(status)
    assert list(tally.other_statuses) == [202, 503]
    assert list(tally.other_statuses.places) == [1, 3]


def test_outage_is_described_by_when_requests_were_due_and_answered() -> None:
    """What is on its way when it begins counts for it, with the time it waited before."""
    due_s = np.array([0.0, 0.9, 1.5, 2.0, 3.1])
    answered_s = np.array([0.1, 1.4, 1.6, 2.01, 3.2])
    statuses = np.array([200, 202, 202, 202, 200])
    times = Times(struck_s=1.0, caught_up_s=1.8, mended_s=3.0, ready_s=3.05)
    found = result.describe(Answers(due_s, answered_s, statuses), times)
    assert found.first_202_s == pytest.approx(0.4)
    assert found.first_200_s == pytest.approx(0.2)
    assert found.statuses == {202: 3}
    maxima = [each["max"] for each in (found.before_ms, found.during_ms, found.settled_ms)]
    assert maxima == pytest.approx([100, 500, 10])


def test_outage_without_an_answer_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Rather than to fail."""
    silent = msgspec.structs.replace(GOOD, first_202_s=None, first_200_s=None, statuses={})
    report.show(Console(width=120), msgspec.structs.replace(FOUND, killed=silent))
    shown = capsys.readouterr().out
    assert "none" in shown
    assert "never" in shown
