"""The client's own lag: a client that stalls shows it, and says that it measured itself."""

import asyncio
import io
import time

import numpy as np
import pytest
from rich.console import Console

from bench.load import lag, payloads, pool, report
from bench.load.client import Load, clock
from bench.load.histogram import Histogram
from bench.load.plan import Stats
from bench.load.pool import Job, Run
from bench.load.tally import Tally
from bench.servers import Endpoint
from tests.bench.fakes import answering, ok

STALL_S = 0.2
REQUEST = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"


def outcome(lag_ms: float, latency_ms: float) -> Stats:
    """Return a run of equal requests."""
    found = Stats()
    found.lags.record(np.full(100, int(lag_ms * 1e6)))
    found.latencies.record(np.full(100, int(latency_ms * 1e6)))
    return found


async def at_once(_: int, writer: asyncio.StreamWriter) -> None:
    """Answer."""
    writer.write(ok(b"{}"))


async def stalled(target: Endpoint) -> Tally:
    """Send 200 requests a second for half a second, and hold up the client in their midst."""
    tally = Tally(keeps_ids=False)
    tally.measuring_since_s = 0.0
    load = Load((target.host, target.port), [REQUEST], 200.0, tally)
    await load.connect(4)
    begin_s = clock()
    load.start(begin_s, begin_s + 0.4975)
    await asyncio.sleep(0.1)
    time.sleep(STALL_S)  # noqa: ASYNC251 - the point
    await asyncio.sleep(0.3)
    await load.finish(5.0)
    load.close()
    return tally


def test_stalled_client_shows_its_lag() -> None:
    """Each request that fell due meanwhile was late by what was left of the stall."""
    with answering(at_once) as target:
        tally = asyncio.run(stalled(target))
    assert len(tally.lag_s) == len(tally.took_s) == 100
    late = [each for each in tally.lag_s if each > STALL_S / 10]
    assert max(tally.lag_s) > STALL_S * 0.9
    assert len(late) >= 200 * STALL_S * 0.8
    assert sum(tally.took_s) >= sum(late), "the lag is part of the latency"


def test_slow_server_is_not_the_clients_lag() -> None:
    """Requests that wait for a free connection wait for the server."""

    async def slowly(_: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(ok(b"{}"))

    with answering(slowly) as target:
        job = Job(target, "nk_test", [payloads.example()], 2, 100.0, warm_up_s=0.0, seconds=0.5)
        run = pool.run(job, lambda *_: None)
    assert run.stats.lags.count == run.stats.latencies.count == 50
    assert run.stats.lags.percentile_ns(50) < run.stats.latencies.percentile_ns(50) / 4
    assert not lag.is_clients(run.stats)


def test_lags_of_processes_add_up() -> None:
    """As the latencies do."""
    together = outcome(1.0, 5.0)
    together.add(outcome(3.0, 5.0))
    assert together.lags.count == 200
    assert lag.lag_ms(together.lags)["max"] == 3.0


def test_notice_appears_when_the_lag_is_over_a_quarter_of_the_latency() -> None:
    """On the screen and in the JSON, and not otherwise."""
    for lag_ms, is_clients in ((1.2, False), (1.3, True)):
        job = Job(Endpoint("127.0.0.1", 1), "nk_test", [payloads.example()], rate=100.0)
        run = Run(job, outcome(lag_ms, 5.0), None, None)
        screen = io.StringIO()
        report.show(Console(file=screen, width=140), run, None)
        assert ("this run measured the client" in screen.getvalue()) is is_clients
        assert "client's lag" in screen.getvalue()
        found = report.as_json(run, None)
        assert found["measured_the_client"] is is_clients
        assert found["client_lag_ms"]["p99"] == pytest.approx(lag_ms, rel=0.01)


def test_closed_loop_has_no_lag() -> None:
    """Nothing is due there, so nothing is late."""
    assert not lag.is_clients(Stats(latencies=Histogram()))
