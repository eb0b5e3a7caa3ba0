"""The `hostile` command: every kind does its worst, is counted, and is held to the targets."""

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from click.testing import CliRunner

from bench import servers
from bench.cli import command
from bench.errors import BenchError
from bench.hostile import batches, runner
from bench.hostile.impact import FLOODS, Impact
from bench.hostile.kinds import KINDS
from bench.hostile.peer import Deeds
from bench.load import http, payloads
from bench.servers import Endpoint
from tests.conftest import StartServer, make_key
from tests.support.server import Server, wait_for

pytestmark = pytest.mark.slow

SECONDS = 0.25
ASKED = range(20, 52)
"""A hundred a second for the warm-up of a quarter of a second and as long after it; fewer on a
machine that has much else to do."""
IMPACT = Impact(
    "half-closers",
    peers=1,
    deeds=Deeds(connections=5, half_closed=5, half_closed_answered=5),
    bystander_ms={"p50": 1.0, "p99": 49.0, "max": 900.0},
    sender_ms={"p50": 2.0, "p99": 900.0, "max": 900.0},
    bystander_statuses={200: 10},
    sender_statuses={200: 10},
    unanswered=0,
    rss_before_bytes=50_000_000,
    rss_growth_bytes=99_000_000,
)

EVENT = {"event_name": "neighbour"}
SLOW_READERS = "every slow reader is served"


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin soon."""
    monkeypatch.setattr(runner, "_WARM_UP_S", SECONDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_connects_and_is_watched(
    shared_server: Server, shared_database_url: str, kind: str
) -> None:
    """The peers were there, and every request of bystander and sender has its outcome counted."""
    endpoint = Endpoint("127.0.0.1", shared_server.port, shared_server.process.pid)
    others_key = make_key(shared_database_url, "neighbour") if kind in FLOODS else None
    if others_key:
        wait_for(lambda: shared_server.post(EVENT, **{"X-API-Key": others_key}).status_code == 200)
    found = runner.measure_kind(kind, endpoint, shared_server.key, SECONDS, others_key=others_key)
    assert found.kind == kind
    assert (found.deeds.connections > 0) is (found.peers > 0)
    assert set(found.sender_statuses) == set(found.bystander_statuses) == {200}
    assert found.unanswered == 0
    assert found.sender_statuses[200] in ASKED
    assert found.bystander_statuses[200] in ASKED
    assert 0 < found.bystander_ms["p50"] <= found.bystander_ms["p99"] <= found.bystander_ms["max"]
    assert 0 < found.sender_ms["p50"] <= found.sender_ms["p99"]
    assert found.rss_before_bytes > 0
    assert (found.deeds.half_closed > 0) is (kind == "half-closers")
    assert found.deeds.half_closed_answered == found.deeds.half_closed


@pytest.mark.parametrize(
    ("make", "status", "bytes_min", "bytes_max"),
    [
        (batches.bomb, 413, 1_000_000, 1_100_000),
        (batches.largest, 200, 16_760_000, 16 << 20),
    ],
)
def test_bomb_is_refused_and_the_largest_batch_is_taken(
    shared_server: Server,
    make: Callable[[bytes], bytes],
    status: int,
    bytes_min: int,
    bytes_max: int,
) -> None:
    """A bomb is small, and the largest batch is just inside the limits of bytes and of events."""
    head, _, body = make(http.request("h", shared_server.key, payloads.example().body)).partition(
        b"\r\n\r\n"
    )
    headers = dict(line.split(": ") for line in head.decode().split("\r\n")[1:])
    answer = requests.post(f"{shared_server.url}/events", body, headers=headers, timeout=30)
    assert answer.status_code == status
    assert bytes_min < len(body) <= bytes_max
    if status == 200:
        assert len(answer.json()["data"]) == 10_000


def test_bomb_is_a_gibibyte() -> None:
    """Of well-formed gzip, but for the sum at its end."""
    request = http.request("h", "nk", payloads.example().body)
    squeezed = batches.bomb(request).partition(b"\r\n\r\n")[2]
    assert squeezed.startswith(b"\x1f\x8b\x08")
    assert sum(map(len, inflated(squeezed))) == 1 << 30


def inflated(squeezed: bytes) -> Iterator[bytes]:
    """Yield what gzip makes of it, in pieces, without looking at the sum behind it."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    rest = squeezed[10:-8]
    while rest:
        yield stream.decompress(rest, 1 << 20)
        rest = stream.unconsumed_tail
    yield stream.flush()


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
        {"bystander_ms": IMPACT.bystander_ms | {"p99": 50.0}},
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
    """What is just good enough passes; each of these alone misses one endpoint."""
    assert all(target.is_reached for target in IMPACT.targets)
    changed = msgspec.structs.replace(IMPACT, **change)
    assert [target.is_reached for target in changed.targets].count(False) == 1


@pytest.mark.parametrize("kind", ["garbage", "half-closers", "never-reading", "resetters"])
def test_two_workers_serve_others_beside_misbehaving_peers(
    database_url: str, start_server: StartServer, kind: str
) -> None:
    """Each of them, and both are there in the end."""
    server = start_server(database_url, server__workers=2)
    pids = [each.pid for each in server.workers()]
    endpoint = Endpoint("127.0.0.1", server.port, server.process.pid)
    found = runner.measure_kind(kind, endpoint, server.key, SECONDS)
    assert set(found.sender_statuses) == set(found.bystander_statuses) == {200}
    assert (found.deeds.connections > 0, found.unanswered) == (True, 0)
    assert found.deeds.half_closed_answered == found.deeds.half_closed
    assert [each.pid for each in server.workers()] == pids


def test_unknown_kind_is_an_error() -> None:
    """It names the kinds that there are."""
    with pytest.raises(BenchError, match="half-closers"):
        runner.choose(["friends"])
    assert runner.choose([]) == list(KINDS)


@pytest.mark.parametrize(
    ("sipped", "cut_off", "missed"),
    [(3, 0, []), (3, 1, [SLOW_READERS]), (0, 0, [SLOW_READERS])],
)
def test_slow_reader_that_is_cut_off_misses_its_target(
    sipped: int, cut_off: int, missed: list[str]
) -> None:
    """And so does a run in which none of them got an answer to read."""
    deeds = Deeds(connections=5, sipped=sipped, cut_off=cut_off)
    impact = msgspec.structs.replace(IMPACT, kind="slow-readers", deeds=deeds)
    assert [target.name for target in impact.targets if not target.is_reached] == missed


def test_slow_readers_read_all_the_time(shared_server: Server) -> None:
    """They get good answers, which are not over when they are cancelled."""
    endpoint = Endpoint("127.0.0.1", shared_server.port, shared_server.process.pid)
    found = runner.measure_kind("slow-readers", endpoint, shared_server.key, 10 * SECONDS)
    assert found.deeds.sipped == KINDS["slow-readers"].peers
    assert found.deeds.cut_off == 0


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize(("p99_ms", "missed"), [(49.9, 0), (50.0, 1)])
def test_flood_is_held_to_what_another_app_waits(kind: str, p99_ms: float, missed: int) -> None:
    """For its events, and not only for `/healthz`."""
    sender_ms = IMPACT.sender_ms | {"p99": p99_ms}
    impact = msgspec.structs.replace(IMPACT, kind=kind, sender_ms=sender_ms)
    assert [target.is_reached for target in impact.targets].count(False) == missed
