"""wrk as the sender: what it sends is the example, and its runs are audited by what is stored."""

import asyncio
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from bench import cores, machine, servers
from bench.compare import sender, wrk, wrk_audit
from bench.compare.comparison import Comparison
from bench.compare.report import show
from bench.compare.result import TrialResult
from bench.compare.rounds import Measured
from bench.compare.setup import Setup
from bench.compare.trial import Served
from bench.errors import BenchError
from bench.load.payloads import example
from tests.bench.fakes import answering, ok
from tests.conftest import make_key
from tests.support.postgres import fetch, meddle

pytestmark = pytest.mark.slow

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@pytest.fixture
def setup(database_url: str) -> Setup:
    """Runs of one second, the shortest of wrk's, on a database of the test's own."""
    split = machine.split_cores()
    key = make_key(database_url)
    return Setup(database_url, key, split, None, seconds=1.0, warm_up_s=0.0, sender=sender.WRK)


def ours() -> Served:
    """Return our server as an entry."""
    return Served(
        lambda setup: servers.ours(setup.database_url, setup.cores.server, {}), has_metrics=True
    )


def result(busy: float) -> TrialResult:
    """Return what a run of wrk might have found."""
    latency = {"p50": 1.0, "p99": 2.0}
    return TrialResult(9.0, 1.0, 0.0, latency, 0, 0.0, [], sender.WRK, sending_core_busy=busy)


@needs_wrk
def test_run_of_wrk_counts_and_its_rows_are_audited(setup: Setup) -> None:
    """Warm-up and window are stored as sent, and the figures are wrk's."""
    found = ours()(replace(setup, warm_up_s=1.0), 4)
    assert found.void == []
    assert found.sender == sender.WRK
    assert found.events_per_s > 100
    assert 0 < found.latency_ms["p50"] <= found.latency_ms["p99"] <= found.latency_ms["max"]
    assert 0 < found.client_core_share <= 1.1
    assert found.client_core_share <= found.sending_core_busy + 0.1
    assert found.server_cpu_s_per_100k > 0


@needs_wrk
@pytest.mark.parametrize(
    ("sabotage", "fault"),
    [
        ("DELETE FROM events WHERE id IN (SELECT id FROM inserted)", "rows"),
        ("UPDATE events SET event_name = 'b' WHERE id IN (SELECT id FROM inserted)", "was sent"),
    ],
)
def test_run_of_wrk_is_void_when_rows_are_lost_or_altered(
    setup: Setup, sabotage: str, fault: str
) -> None:
    """A 200 that is not in Postgres as it was sent is no 200."""
    meddle(setup.database_url, sabotage)
    assert fault in " ".join(ours()(setup, 4).void)


@needs_wrk
def test_run_of_wrk_with_other_statuses_is_void(setup: Setup) -> None:
    """Every answer is a 401: wrk counts them as errors, and our metrics say which."""
    void = " ".join(ours()(replace(setup, key="nk_wrong"), 4).void)
    assert "answers of 400 and above" in void
    assert "the server counted no 200" in void


@needs_wrk
def test_wrk_sends_the_body_and_the_key_byte_by_byte() -> None:
    """Whatever Lua would make of quotes, backslashes and other alphabets."""
    seen: set[bytes] = set()
    payload = example()._replace(body=b'{"a": "\\" ]] \\\\ \xc3\xbc\\n%d"}')

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                seen.add(head + await reader.readexactly(int(length)))
                writer.write(ok(b"{}"))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def work() -> None:
        server = await asyncio.start_server(keep, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        shot = wrk.Shot(servers.Endpoint("127.0.0.1", port), 'nk_"x', payload, 2)
        sent = await asyncio.to_thread(wrk.run, shot, 1.0)
        assert sent.said.requests > 0
        assert sent.said.faults == []
        server.close()

    asyncio.run(work())
    (request,) = seen
    assert request.startswith(b"POST /event HTTP/1.1\r\n")
    assert b'X-API-Key: nk_"x\r\n' in request
    assert b"Content-Type: application/json\r\n" in request
    assert request.endswith(payload.body)


def test_rows_may_be_one_more_on_each_connection_and_no_fewer() -> None:
    """Those whose answers were on their way when wrk cut its connections."""
    assert wrk_audit.miscounted(100, 100, 4) == wrk_audit.miscounted(104, 100, 4) == []
    assert wrk_audit.miscounted(99, 100, 4)
    assert wrk_audit.miscounted(105, 100, 4)


def test_rows_of_another_app_are_found(setup: Setup) -> None:
    """Also when their events are as they were sent."""
    assert wrk_audit.altered(setup.database_url, example(), setup.key) == []
    insert = (
        "INSERT INTO events SELECT id, '01a20775-3827-7f9a-a84b-77c69c54c242', 'button_click',"
        f" '{example().params}', now() FROM apps"
    )
    asyncio.run(fetch(setup.database_url, insert))
    assert wrk_audit.altered(setup.database_url, example(), setup.key) == []
    found = wrk_audit.altered(setup.database_url, example(), "nk_another")
    assert found == ["1 rows are another app's"]


def test_server_without_metrics_is_an_error() -> None:
    """Rather than a run that nobody checked."""

    async def nothing(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(ok(b"{}"))

    with answering(nothing) as target:
        gone = target
    with pytest.raises(BenchError, match="/metrics"):
        wrk_audit.other_statuses(gone)


def test_missing_wrk_is_said_and_auto_takes_our_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our client sends, and the table's foot says why."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert sender.choose(sender.AUTO) == sender.OWN
    assert "wrk is not installed" in sender.explain({sender.OWN})
    with pytest.raises(BenchError, match="apt install wrk"):
        sender.choose(sender.WRK)


@pytest.mark.parametrize(("busy", "is_bound"), [(0.89, False), (0.95, True)])
def test_row_is_marked_when_the_sending_core_was_busy(busy: float, *, is_bound: bool) -> None:
    """In the table and in the JSON, by the median of the rounds; the table says who sent."""
    runs = [result(0.1), result(busy), result(0.99)]
    found = Comparison([Measured("ours-fast", "ours", "committed", 64, runs)], DURABLE)
    console = Console(width=140, record=True, quiet=False)
    show(console, found)
    text = console.export_text()
    assert ("bound by the client" in text) is is_bound
    assert f"wrk {busy:.0%}" in text
    (entry,) = found.as_json()["entries"]
    assert (entry["sender"], entry["is_bound_by_client"]) == (sender.WRK, is_bound)


def test_core_that_spins_is_busy() -> None:
    """What /proc/stat says of a core, by one that this test keeps busy."""
    core = min(machine.all_cores())
    before = cores.sample({core})
    with machine.pinned(frozenset({core})):
        sum(range(10_000_000))
    assert cores.busiest(before, cores.sample({core})) > 0.3
    assert cores.busiest({}, {}) == 0.0
