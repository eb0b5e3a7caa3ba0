"""The `hostile` command: every kind does its worst, is counted, and is held to the targets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from bench import hostile, servers
from bench.cli import command
from bench.errors import BenchError
from bench.hostile import Found
from bench.hostile_peers import KINDS, Deeds
from bench.servers import Target
from tests.support.server import Server

SECONDS = 0.25
ASKED = {50, 51}
"""A hundred a second for the warm-up of a quarter of a second and as long after it."""
FOUND = Found(
    "half-closers",
    peers=1,
    deeds=Deeds(connections=5, half_closed=5, half_closed_answered=5),
    bystander_ms={"p50": 1.0, "p99": 49.0, "max": 900.0},
    bystander_statuses={200: 10},
    sender_statuses={200: 10},
    unanswered=0,
    rss_before_bytes=50_000_000,
    rss_growth_bytes=99_000_000,
)


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin soon."""
    monkeypatch.setattr(hostile, "_WARM_UP_S", SECONDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_connects_and_is_watched(shared_server: Server, kind: str) -> None:
    """The peers were there, and every request of bystander and sender has its fate counted."""
    target = Target("127.0.0.1", shared_server.port, shared_server.process.pid)
    found = hostile.measure_kind(kind, target, shared_server.key, SECONDS)
    assert found.kind == kind
    assert (found.deeds.connections > 0) is (found.peers > 0)
    assert set(found.sender_statuses) == set(found.bystander_statuses) == {200}
    assert found.unanswered == 0
    assert found.sender_statuses[200] in ASKED
    assert found.bystander_statuses[200] in ASKED
    assert 0 < found.bystander_ms["p50"] <= found.bystander_ms["p99"] <= found.bystander_ms["max"]
    assert found.rss_before_bytes > 0
    assert (found.deeds.half_closed > 0) is (kind == "half-closers")
    assert found.deeds.half_closed_answered == found.deeds.half_closed


def test_command_prints_a_line_for_each_kind_and_saves(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kinds that were asked for, each on a new server, on the screen and in JSON."""

    @contextmanager
    def given(_: frozenset[int]) -> Iterator[str]:
        yield database_url

    monkeypatch.setattr(servers, "temporary_postgres", given)
    asked = ["--only", "half-closers", "--only", "nobody", "--seconds", str(SECONDS)]
    ran = CliRunner().invoke(command, ["hostile", *asked, "--json", str(tmp_path / "found.json")])
    assert ran.exit_code == 0, ran.output
    assert "every half-closer is answered" in ran.output
    found = json.loads((tmp_path / "found.json").read_bytes())
    assert [each["kind"] for each in found["kinds"]] == ["nobody", "half-closers"]
    assert [len(each["verdicts"]) for each in found["kinds"]] == [3, 4]
    assert [set(each["sender_statuses"]) for each in found["kinds"]] == [{"200"}, {"200"}]


@pytest.mark.parametrize(
    "change",
    [
        {"bystander_ms": FOUND.bystander_ms | {"p99": 50.0}},
        {"rss_growth_bytes": 100_000_000},
        {"sender_statuses": {200: 10, 503: 1}},
        {"sender_statuses": {}},
        {"bystander_statuses": {200: 9, 408: 1}},
        {"unanswered": 1},
        {"deeds": Deeds(connections=5, half_closed=5, half_closed_answered=4)},
        {"deeds": Deeds(connections=5)},
    ],
)
def test_each_target_can_be_missed(change: dict[str, Any]) -> None:
    """What is just good enough passes; each of these alone misses one target."""
    assert all(verdict.is_reached for verdict in FOUND.verdicts)
    changed = msgspec.structs.replace(FOUND, **change)
    assert [verdict.is_reached for verdict in changed.verdicts].count(False) == 1


def test_unknown_kind_is_an_error() -> None:
    """It names the kinds that there are."""
    with pytest.raises(BenchError, match="half-closers"):
        hostile.choose(["friends"])
    assert hostile.choose([]) == list(KINDS)
