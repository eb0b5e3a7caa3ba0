"""The `scale` command: every number of workers is run, checked, and compared with one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import command
from bench.scale import runner
from bench.scale.result import CONNECTIONS, Connections, Scale, ScaleRun
from bench.scale.share import Share
from tests.support.postgres import meddle

pytestmark = pytest.mark.slow

VOID = 3
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


def scale(*arguments: str) -> Result:
    """Run `python -m bench scale`, very short."""
    short = (
        "--rounds",
        "1",
        "--seconds",
        "0.5",
        "--warm-up",
        "0.5",
        "--share",
        "0.2",
        "--slice-ms",
        "1",
    )
    return CliRunner().invoke(command, ["scale", *short, "--connections", "16", *arguments])


def run(workers: int, rate: float, **changed: object) -> ScaleRun:
    """Return a run that found this rate, whose CPU an event is 1 and whose workers are alike."""
    found = {
        "workers": workers,
        "events_per_s": rate,
        "server_cpu_s_per_100k": 1.0,
        "supervisor_cpu_s_per_100k": 0.0,
        "postgres_cpu_s_per_100k": 1.0,
        "batch_events": 10.0,
        "connections": [CONNECTIONS // workers] * workers,
        "latency_ms": {"p50": 1.0, "p99": 2.0},
        "share_used": 1.0,
        "core_busy": 0.5,
        "client_cpu_us_per_request": 1.0,
        "void": [],
    }
    return ScaleRun(**(found | changed))  # type: ignore[arg-type] # of many types


def of(*runs: ScaleRun) -> Scale:
    """Return the whole of these runs."""
    return Scale(runs, Connections(CONNECTIONS), Share(0.05, 0.005), "signals", DURABLE)


def test_every_number_of_workers_is_run_and_every_event_is_stored(
    here: str, tmp_path: Path
) -> None:
    """Figures on the screen and in JSON, with whatever throttle this machine has."""
    del here
    path = tmp_path / "scale.json"
    ran = scale("--workers", "2", "--workers", "1", "--json", str(path))
    assert ran.exit_code == 0, ran.output
    found = json.loads(path.read_bytes())
    assert found["void"] == []
    assert found["throttle"] in ran.output
    one, two = found["by_workers"]
    assert (one["workers"], two["workers"]) == (1, 2)
    assert one["factor"] == 1.0
    assert two["factor"] == two["events_per_s"] / one["events_per_s"] > 0
    for each in found["runs"]:
        assert sum(each["connections"]) == 16
        assert len(each["connections"]) == each["workers"]
        assert each["server_cpu_s_per_100k"] > each["supervisor_cpu_s_per_100k"]
        assert each["postgres_cpu_s_per_100k"] > 0
        assert 1 <= each["batch_events"] <= 16
        assert 0 < each["latency_ms"]["p50"] <= each["latency_ms"]["p99"]
        # Of a share, a slice or two more is what a short run may have.
        assert 0 < each["share_used"] < 2


def test_run_whose_rows_do_not_add_up_is_void(here: str) -> None:
    """A database that loses rows: exit code 3, and no factor of it."""
    meddle(here, "DELETE FROM events WHERE id IN (SELECT id FROM inserted)")
    ran = scale("--workers", "1", "--throttle", "signals")
    assert ran.exit_code == VOID, ran.output
    assert "VOID" in ran.output
    assert "missing" in ran.output
    assert "rows" in ran.output


def test_rounds_go_to_and_fro() -> None:
    """So that a machine that grows slower is so for few and many alike."""
    assert runner.plan([1, 2, 4], 3) == [1, 2, 4, 4, 2, 1, 1, 2, 4]


def test_factor_is_of_medians_that_count() -> None:
    """One bad round does not decide, and a void one is not counted."""
    found = of(run(1, 90), run(1, 100), run(1, 900), run(4, 380), run(4, 1, void=["no answers"]))
    assert found.factor(4, "events_per_s") == pytest.approx(3.8)
    assert found.void == ["4 workers: no answers"]
    assert of(run(4, 380)).factor(4, "events_per_s") is None


def test_targets_are_held_against_one_worker() -> None:
    """Each by its own bound; those of numbers that did not take part are left out."""
    reached = of(
        run(1, 100.0), run(4, 350.0, postgres_cpu_s_per_100k=1.3, connections=[52, 60, 64, 80])
    ).reached()
    assert {
        (target.figure, target.workers): target.bound.admits(measured)
        for target, measured in reached
    } == {
        ("events_per_s", 4): False,
        ("server_cpu_s_per_100k", 4): True,
        ("postgres_cpu_s_per_100k", 4): True,
        ("spread", 4): False,
    }


def test_what_else_bound_a_run_is_said() -> None:
    """A client or a Postgres without a core to spare, and workers that waited for them."""
    found = of(run(1, 100.0), run(8, 100.0, core_busy=0.97, share_used=0.5))
    assert found.bounds(1) == []
    busy, used = found.bounds(8)
    assert "97%" in busy
    assert "50%" in used
    (loose,) = of(run(1, 100.0, share_used=1.6)).bounds(1)
    assert "160%" in loose


def test_connections_are_shared_out_or_each_workers() -> None:
    """As many in all with any number of workers, or as many for each of them."""
    assert [Connections(256).of(workers) for workers in (1, 4)] == [256, 256]
    assert [Connections(256, per_worker=True).of(workers) for workers in (1, 4)] == [256, 1024]


def test_settings_that_are_not_durable_void_it_all() -> None:
    """A rate without fsync is none."""
    found = Scale(
        [run(1, 1.0)],
        Connections(CONNECTIONS),
        Share(0.05, 0.005),
        "signals",
        DURABLE | {"fsync": "off"},
    )
    assert found.void == ["all: fsync is off"]
