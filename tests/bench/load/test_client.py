"""The load client: what it counts is what happened, also when the server misbehaves."""

import asyncio
import time
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.load import ledger, payloads, pool
from bench.load.pool import Job, Run
from bench.servers import Endpoint
from tests.bench.fakes import answering, ok

STALL_S = 0.3
EVENT_ID = b"01a20775-3827-7f9a-a84b-77c69c54c242"


def run(endpoint: Endpoint, **options: object) -> Run:
    """Run a load of half a second."""
    settings: dict[str, object] = {"connections": 1, "warm_up_s": 0.0, "seconds": 0.5}
    job = Job(endpoint, "nk_test", [payloads.example()], **(settings | options))  # type: ignore[arg-type]
    return pool.run(job, lambda *_: None)


async def stall_once(number: int, writer: asyncio.StreamWriter) -> None:
    """Answer at once, but one request only after 0.3 s, and hang for everybody meanwhile."""
    if number == 20:
        time.sleep(STALL_S)  # noqa: ASYNC251 - the point
    writer.write(ok(b"{}"))


def test_open_loop_shows_a_stall_in_every_request_that_it_delayed() -> None:
    """Requests that were due during the stall count from when they were due."""
    with answering(stall_once) as endpoint:
        stats = run(endpoint, rate=200.0, connections=4).stats
    assert stats.latencies.count == 100
    assert stats.latencies.percentile_ns(100) > STALL_S * 1e9
    # A stall of 0.3 s out of 0.5 s delays more than a third of all requests by 0.1 s or more.
    assert stats.latencies.percentile_ns(65) > 0.05e9


def test_open_loop_keeps_its_rate() -> None:
    """As many requests as were due: not fewer because answers come late, not more."""

    async def slowly(_: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(ok(b"{}"))

    with answering(slowly) as endpoint:
        stats = run(endpoint, rate=300.0, connections=30, processes=2).stats
    assert stats.latencies.count == 150
    assert stats.totals == {200: 150}
    assert stats.unsent == 0


def test_requests_that_are_never_sent_are_counted() -> None:
    """A server that answers nothing: what was due is lost or unsent, none is forgotten."""

    async def never(_: int, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    with answering(never) as endpoint:
        stats = run(endpoint, rate=100.0, connections=2, drain_s=0.1).stats
    assert (stats.lost, stats.unsent) == (2, 48)
    assert stats.latencies.count == 50
    assert stats.latencies.max_ns > 0.5e9


def test_answers_are_framed_however_they_are_cut() -> None:
    """An answer that comes a byte at a time is one answer."""

    async def drip(_: int, writer: asyncio.StreamWriter) -> None:
        for byte in ok(b'{"id":"%b"}' % EVENT_ID):
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)

    with answering(drip) as endpoint:
        stats = run(endpoint, connections=2).stats
    assert stats.totals[200] > 10
    assert set(stats.totals) == {200}
    assert stats.lost == 0


def test_other_statuses_and_broken_connections_are_counted() -> None:
    """Every third request is refused, and every tenth loses its connection; the run goes on."""

    async def badly(number: int, writer: asyncio.StreamWriter) -> None:
        if number % 10 == 9:
            writer.close()
        elif number % 3 == 0:
            writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
        else:
            writer.write(ok(b"{}"))

    with answering(badly) as endpoint:
        stats = run(endpoint, connections=3).stats
    assert stats.lost >= 3
    assert stats.totals[503] > 0
    assert stats.totals[200] > 0
    assert stats.successes == stats.totals[200]


def test_ids_of_acknowledged_events_are_kept_with_their_payloads(tmp_path: Path) -> None:
    """Of 200 and 202, not of refusals; each with the number of the payload that was sent."""

    async def mixed(number: int, writer: asyncio.StreamWriter) -> None:
        answer = ok(b'{"data":[{"id":"%b"}]}' % EVENT_ID)
        status = (b"200 OK", b"202 Accepted", b"500 Oops")[number % 3]
        writer.write(answer.replace(b"200 OK", status))

    events = payloads.mix(5)
    with answering(mixed) as endpoint:
        job = Job(endpoint, "nk_test", events, 1, warm_up_s=0.1, seconds=0.2, acknowledged=tmp_path)
        stats = pool.run(job, lambda *_: None).stats
    entries = list(ledger.read(tmp_path))
    assert stats.totals[500] > 0
    count = stats.totals[200] + stats.totals[202]
    assert b"".join(each.ids for each in entries) == EVENT_ID * count
    sent = [number for each in entries for number in each.payloads]
    assert sent == [n % 5 for n in range(stats.totals.total()) if n % 3 != 2]


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n\r\n", ok(b"{}") * 2])
def test_what_is_no_answer_ends_the_run(answer: bytes) -> None:
    """Something else than HTTP, or an answer too many: no figures, but an error."""

    async def odd(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    with answering(odd) as endpoint, pytest.raises(BenchError, match="answer"):
        run(endpoint)


def test_server_that_is_not_there_is_an_error() -> None:
    """One line that names the address."""
    with answering(stall_once) as endpoint:
        gone = endpoint
    with pytest.raises(BenchError, match=f"127.0.0.1:{gone.port}"):
        run(gone)
