"""The comparison: peers do their job, runs that don't count are void, ratios are what they say."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from bench import machine, servers
from bench.cli import command
from bench.compare import entries
from bench.compare.comparison import CPU, RATE, Comparison
from bench.compare.entries import AIOHTTP, BATCH_CONNECTIONS, ONCE, choose
from bench.compare.result import TrialResult
from bench.compare.rounds import Measured, plan
from bench.compare.setup import Setup
from bench.compare.trial import CopyAlone, Served
from bench.errors import BenchError
from bench.load import forms
from bench.load.forms import Form
from bench.load.payloads import example
from bench.servers import Endpoint
from tests.conftest import make_key
from tests.support.postgres import fetch, meddle

pytestmark = pytest.mark.slow

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@pytest.fixture
def quick(database_url: str) -> Setup:
    """Very short runs on a database of the test's own."""
    cores = machine.split_cores()
    return Setup(database_url, make_key(database_url), cores, None, seconds=0.2, warm_up_s=0.0)


@contextmanager
def peer(module: str, quick: Setup) -> Iterator[str]:
    """Run a peer and yield its `/event`."""
    with entries.peer(module, quick.database_url, quick.cores.server) as endpoint:
        yield f"http://{endpoint.host}:{endpoint.port}/event"


def result(events_per_s: float, cpu_s: float = 1.0, void: str = "") -> TrialResult:
    """Return what a run might have found."""
    return TrialResult(
        events_per_s, cpu_s, 0.0, {"p50": 1.0, "p99": 2.0}, 0, 0.0, [void] if void else []
    )


def comparison(
    runs: Mapping[str, list[TrialResult]], settings: Mapping[str, str] = DURABLE
) -> Comparison:
    """Return the comparison of runs with 64 connections."""
    measured = [Measured(name, name, "committed", 64, results) for name, results in runs.items()]
    return Comparison(measured, settings)


@pytest.mark.parametrize("module", ["obvious", "fastapi_insert"])
def test_storing_peer_stores_what_it_acknowledges_and_refuses_the_rest(
    quick: Setup, module: str
) -> None:
    """The stored row is the event that was sent; a wrong key or a bad event stores nothing."""
    good, bad = {"X-API-Key": quick.key}, {"X-API-Key": "nk_wrong"}
    json_type = {"Content-Type": "application/json"}
    body = example().body
    with peer(module, quick) as url:
        stored = requests.post(url, body, headers=good | json_type, timeout=10)
        refused = [
            requests.post(url, body, headers=bad | json_type, timeout=10),
            requests.post(url, b"{", headers=good | json_type, timeout=10),
            requests.post(url, b'{"event_params": {}}', headers=good | json_type, timeout=10),
            requests.post(
                url, b'{"event_name": "a", "event_params": 1}', headers=good | json_type, timeout=10
            ),
        ]
    (row,) = stored.json()["data"]
    assert stored.status_code == 200
    assert [each.status_code // 100 for each in refused] == [4, 4, 4, 4]
    (found,) = asyncio.run(fetch(quick.database_url, "SELECT * FROM events"))
    assert (row["id"], row["event_name"]) == (str(found["id"]), found["event_name"])
    assert found["id"].version == 7
    assert json.loads(found["event_params"]) == row["event_params"] == json.loads(example().params)


def test_compare_runs_saves_and_draws(tmp_path: Path) -> None:
    """One tiny round of a server, a ceiling and the COPY, on a Postgres of its own."""
    arguments = ["--rounds", "1", "--seconds", "0.3", "--warm-up", "0", "--connections", "8"]
    for name in (AIOHTTP, "uvloop-fixed", "copy"):
        arguments += ["--only", name]
    ran = CliRunner().invoke(command, ["compare", *arguments, "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    found = json.loads((tmp_path / "compare.json").read_bytes())
    medians = {each["entry"]: each["median"][RATE] for each in found["entries"]}
    assert set(medians) == {AIOHTTP, "uvloop-fixed", "copy"}
    assert 0 < medians[AIOHTTP] < medians["uvloop-fixed"]
    assert medians[AIOHTTP] < medians["copy"]
    assert found["void"] == []
    assert DURABLE.items() <= found["postgres"].items()
    assert found["machine"]["packages"]["uvloop"]
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_run_whose_rows_do_not_match_its_200s_is_void(quick: Setup) -> None:
    """A server that stores each event twice, once under an id that it tells nobody."""
    function = (
        "CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO events SELECT app_id, gen_random_uuid(), event_name, event_params, created_at"
        " FROM inserted; RETURN NULL; END $$"
    )
    trigger = (
        "CREATE TRIGGER double AFTER INSERT ON events REFERENCING NEW TABLE AS inserted"
        " FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION double()"
    )
    for statement in (function, trigger):
        asyncio.run(fetch(quick.database_url, statement))

    def start(quick: Setup) -> AbstractContextManager[Endpoint]:
        return entries.peer("obvious", quick.database_url, quick.cores.server)

    found = [Served(start)(quick, 4), CopyAlone()(quick, 1)]
    assert all("rows" in each.void[0] for each in found), found


def test_compare_holds_batches_to_copy(tmp_path: Path) -> None:
    """Batches take part with connections of their own; there is no single POST to draw."""
    arguments = ["--rounds", "1", "--seconds", "1", "--warm-up", "0"]
    arguments += ["--only", "ours-batch", "--only", "copy", "--out", str(tmp_path)]
    ran = CliRunner().invoke(command, ["compare", *arguments])
    assert ran.exit_code == 0, ran.output
    found = json.loads((tmp_path / "compare.json").read_bytes())
    (batch, copy) = found["entries"]
    assert (batch["entry"], batch["connections"]) == ("ours-batch", BATCH_CONNECTIONS)
    ratio, cpu_us = found["targets"]
    assert ratio["measured"] == batch["median"][RATE] / copy["median"][RATE]
    assert cpu_us["measured"] == batch["median"][CPU] * 10
    assert "ours is" in ran.output


@pytest.mark.parametrize(
    ("form", "sabotage", "fault"),
    [
        (forms.BATCH, "", ""),
        (forms.NDJSON_BATCH, "", ""),
        (forms.MINIMAL_BATCH, "DELETE FROM events WHERE id = {id}", "acknowledged"),
        (forms.BATCH, "UPDATE events SET event_name = 'b' WHERE id = {id}", "not what was sent"),
    ],
)
def test_batches_are_verified(quick: Setup, form: Form, sabotage: str, fault: str) -> None:
    """A row that is lost or changed in the midst of a batch makes a run void; nothing else does."""
    if sabotage:
        row = "(SELECT id FROM inserted ORDER BY id OFFSET 500 LIMIT 1)"
        meddle(quick.database_url, sabotage.format(id=row))
    run = Served(lambda quick: servers.ours(quick.database_url, quick.cores.server, {}), form=form)
    found = run(replace(quick, seconds=1.0), 2)
    assert fault in " ".join(found.void)
    assert bool(found.void) is bool(sabotage), found.void
    assert found.events_per_s > 500, "events, not batches"


def test_void_runs_do_not_count() -> None:
    """The median is of the runs that do, and the others are named with their reason."""
    found = comparison(
        {"obvious": [result(1), result(2), result(9, void="1 row missing"), result(3)]}
    )
    (entry,) = found.as_json()["entries"]
    assert entry["median"][RATE] == 2
    assert found.void_runs == ["obvious, 64 connections, round 3: 1 row missing"]


@pytest.mark.parametrize("name", DURABLE)
def test_everything_is_void_on_a_postgres_that_is_not_durable(name: str) -> None:
    """Figures of a database that may lose what it committed are no figures."""
    assert comparison({"obvious": [result(1)]}, DURABLE | {name: "off"}).void_runs
    assert not comparison({"obvious": [result(1)]}).void_runs


def test_targets_are_ratios_of_medians() -> None:
    """Ours to the other's, with passed and missed as the table of the issue has them."""
    ours, obvious = [result(90, 2), result(30, 2), result(31, 2)], [result(10, 10)]
    fastapi, void = [result(3)], [result(1, void="no answers")]
    found = comparison(
        {"ours-fast": ours, "obvious": obvious, "fastapi": fastapi, "aiohttp-fixed": void}
    )
    reached = {(each.label, each.measured): each.is_reached for each in found.targets()}
    assert reached == {
        ("events/s: ours / obvious", 3.1): True,
        ("events/s: ours / fastapi", 31 / 3): False,
        ("events/s: ours / aiohttp-fixed", None): False,
        ("server CPU per event: ours / obvious", 0.2): True,
    }
    assert found.ratio(CPU, "obvious", 64) == 0.2


def test_targets_of_batches_are_against_copy_and_by_themselves() -> None:
    """0.8 of COPY alone and 3 µs an event are just enough."""

    def reached(rate: float, cpu_s: float) -> dict[str, bool]:
        measured = [
            Measured("ours-fast", "", "", 64, [result(50)]),
            Measured("ours-batch", "", "", BATCH_CONNECTIONS, [result(rate, cpu_s)], 1_000),
            Measured("copy", "", "", ONCE, [result(1_000)]),
        ]
        return {each.label: each.is_reached for each in Comparison(measured, DURABLE).targets()}

    rate, cpu = "events/s: ours-batch / copy", "server CPU µs per event: ours-batch"
    assert reached(800, 0.3) == {rate: True, cpu: True}
    assert reached(799, 0.31) == {rate: False, cpu: False}


def test_batches_run_once_a_round_whatever_connections_are_asked_for() -> None:
    """With their own number of connections; NDJSON only when it is named."""
    planned = [(entry.name, number) for entry, number in plan(choose([]), 2, (64, 256))]
    names = [name for name, _ in planned]
    assert planned.count(("ours-batch", BATCH_CONNECTIONS)) == names.count("ours-batch") == 2
    assert planned.count(("copy", ONCE)) == names.count("copy") == 2
    assert "ours-batch-ndjson" not in names
    assert [entry.name for entry in choose(["ours-batch-ndjson"])] == ["ours-batch-ndjson"]


def test_unknown_entry_is_refused_with_the_known_ones() -> None:
    """Before anything is started."""
    with pytest.raises(BenchError, match="obvious"):
        choose(["obviuos"])
