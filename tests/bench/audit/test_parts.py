"""The audit's parts: the history, the clients, the proxy, failpoints, the order of faults."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from random import Random

import asyncpg
import orjson
import pytest

from bench.audit import failpoints
from bench.audit.answers import file_answer
from bench.audit.bugs import BUGS
from bench.audit.clients import Client, Crowd
from bench.audit.faults import draw
from bench.audit.history import LOST, read
from bench.audit.nemesis import FAULTS, choose
from bench.audit.patch import with_new_ids
from bench.audit.proxy import Proxy, Trap
from bench.audit.recorder import Oracle
from bench.audit.verdicts import INVARIANTS
from bench.audit.workload import GOOD, Maker, Request
from bench.errors import BenchError
from ingest.errors import Code, Refusal
from ingest.events import copy_format, event
from ingest.events.ids import IdSequence
from ingest.store.cluster import Cluster
from tests.bench.fakes import answering
from tests.support.server import ROOT

MAKER = Maker("run", 1)


def test_requests_are_what_they_are_meant_to_be() -> None:
    """The server's own decoder takes each good one and refuses each bad one with its code."""
    random, codes = Random(1), set()
    for number in range(2_000):
        good = MAKER.good(1, number, random)
        name, params, _ = event.decode(good.body, 255)
        assert json.loads(params)["audit"] == good.token
        assert params.decode() in good.echo.decode()
        assert json.loads(good.body)["event_name"] == name
        bad = MAKER.bad(1, number, random)
        with pytest.raises(Refusal) as refused:
            event.decode(bad.body, 255)
        assert refused.value.code == bad.expected
        codes.add(bad.expected)
        event.decode(MAKER.poison(1, number, random).body, 255)
    assert codes >= {
        Code.INVALID_JSON,
        Code.MISSING_EVENT_NAME,
        Code.INVALID_EVENT_NAME,
        Code.INVALID_EVENT_PARAMS,
        Code.UNKNOWN_FIELD,
    }


def test_same_seed_makes_the_same_faults_and_every_kind_comes() -> None:
    """A bag holds each kind as often as its weight says."""
    faults = choose(())
    size = sum(fault.weight for fault in faults)
    first = [fault.name for fault in islice(draw(faults, Random(7)), size)]
    assert first == [fault.name for fault in islice(draw(faults, Random(7)), size)]
    assert set(first) == {fault.name for fault in faults}
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_unknown_fault_is_named() -> None:
    """With those that there are."""
    with pytest.raises(BenchError, match=r"^earthquake is no fault; one of server-kill, "):
        choose(("earthquake",))


def test_every_bug_names_faults_and_an_invariant_that_exist() -> None:
    """And there are at least twelve."""
    names = {fault.name for fault in FAULTS}
    assert len(BUGS) >= 12
    for bug in BUGS.values():
        assert set(bug.faults) <= names
        assert bug.breaks
        assert set(bug.breaks) <= INVARIANTS.keys()


def test_new_ids_change_the_ids_and_nothing_else() -> None:
    """The seeded bug is the one it says."""
    ids = IdSequence()
    before = []
    for number in range(50):
        event_id, _, moment = ids.next()
        params = b'{"n": %d}' % number
        before.append(
            copy_format.row(copy_format.row_head(1), event_id, b"name", params, moment.row)
        )
    after = with_new_ids(b"".join(before))
    assert len(after) == len(b"".join(before))
    size = len(before[0])
    assert after[14:22] == before[0][14:22]
    assert after[22:30] != before[0][22:30]
    assert after[30:size] == before[0][30:]


def test_nothing_is_sent_before_the_history_has_it(tmp_path: Path) -> None:
    """A server that looks into the history at each request finds it there."""
    oracle = Oracle(tmp_path / "history")
    missing = []

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if oracle.path.read_bytes().count(b"sent\t") < number + 1:
            missing.append(number)
        writer.write(b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\n{}")

    with answering(answer) as endpoint:
        asyncio.run(_drive(endpoint.port, oracle, seconds=0.3))
    story = read(oracle.path)
    assert len(story.records) > 20
    assert not missing
    assert len(story.mixed) + sum(each.code == LOST for each in story.records.values()) >= 20


def test_lost_connection_leaves_the_fate_open(tmp_path: Path) -> None:
    """What a dying server did with the event, nobody knows."""
    oracle = Oracle(tmp_path / "history")

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    with answering(answer) as endpoint:
        asyncio.run(_drive(endpoint.port, oracle, seconds=0.3))
    story = read(oracle.path)
    assert len(story.records) > 5
    assert all(each.is_settled and each.code == LOST for each in story.records.values())


async def _drive(port: int, oracle: Oracle, seconds: float) -> None:
    """Let a plain client and a pipelining one loose."""
    crowd = Crowd(port, "key", MAKER, oracle)
    clients = [asyncio.create_task(Client(crowd, n, Random(n)).run()) for n in (0, 1)]
    await asyncio.sleep(seconds)
    crowd.is_stopping = True
    await asyncio.gather(*clients)


def test_answer_of_another_request_is_mixed_up(tmp_path: Path) -> None:
    """Only the request's own name and parameters, byte for byte, are its answer."""
    oracle = Oracle(tmp_path / "history")
    one, other = (MAKER.good(1, number, Random(1)) for number in (1, 2))
    oracle.sent(one)
    oracle.sent(other)
    event_id = "01a20775-3827-7f9a-a84b-77c69c54c242"
    start = b'{"status":"success","data":[{"id":"' + event_id.encode()
    end = b'2026-01-10T12:00:00.123Z"}]}'
    assert file_answer(oracle, (one,), 200, start + one.echo + end) == event_id
    assert file_answer(oracle, (other,), 200, start + one.echo + end) is None
    records = read(oracle.path).records
    assert (records[one.token].status, records[one.token].id) == (200, event_id)
    assert records[one.token].created_at == "2026-01-10T12:00:00.123Z"
    assert not records[other.token].is_acked


def test_500_that_leaves_it_open_is_unknown(tmp_path: Path) -> None:
    """And one that says that nothing is stored is a refusal."""
    oracle = Oracle(tmp_path / "history")
    texts = {1: "it may or may not be stored.", 2: "The event was not stored."}
    for number, text in texts.items():
        request = MAKER.good(1, number, Random(1))
        oracle.sent(request)
        body = Refusal(Code.DATABASE_ERROR, text).body()
        file_answer(oracle, (request,), 500, body)
    records = list(read(oracle.path).records.values())
    assert [(each.status, each.code) for each in records] == [
        (0, "500 database_error"),
        (500, "database_error"),
    ]
    assert all(each.expected == GOOD for each in records)


@pytest.fixture
async def proxy(own_cluster: Cluster) -> AsyncIterator[Proxy]:
    """A proxy in front of a Postgres with a table."""
    await asyncio.to_thread(own_cluster.execute, "CREATE TABLE seen (n int)")
    host = own_cluster.url("x").partition("host=")[2].replace("%2F", "/")
    opened = Proxy(f"{host}/.s.PGSQL.5432")
    await opened.open()
    yield opened
    await opened.close()


async def _connect(proxy: Proxy) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable", timeout=5
    )


@pytest.mark.parametrize(
    ("trap", "is_told", "count"),
    [(Trap.BEFORE_ANSWER, False, 1), (Trap.AFTER_ANSWER, True, 1), (Trap.HALF_SENT, False, 0)],
)
async def test_proxy_cuts_where_it_is_told(
    proxy: Proxy, own_cluster: Cluster, trap: Trap, *, is_told: bool, count: int
) -> None:
    """Committed and not told, committed and told, not committed: then the next one works."""
    connection = await _connect(proxy)
    springing = asyncio.create_task(proxy.spring(trap, 5))
    await asyncio.sleep(0)
    padding = "x" * 2_000
    try:
        await connection.execute(f"INSERT INTO seen VALUES (1) /* {padding} */")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        assert not is_told
    else:
        assert is_told
    assert await springing
    await asyncio.sleep(0.1)
    assert int(await asyncio.to_thread(own_cluster.execute, "SELECT count(*) FROM seen")) == count
    again = await _connect(proxy)
    assert await again.fetchval("SELECT 1") == 1
    await again.close()


async def test_proxy_holds_and_releases(proxy: Proxy) -> None:
    """Nothing is lost of what was held."""
    connection = await _connect(proxy)
    proxy.hold()
    asking = asyncio.create_task(connection.fetchval("SELECT 1"))
    await asyncio.sleep(0.3)
    assert not asking.done()
    proxy.release()
    assert await asyncio.wait_for(asking, 5) == 1
    proxy.refuse()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await _connect(proxy)
    proxy.allow()
    again = await _connect(proxy)
    await again.close()


def test_failpoint_acts_at_its_passage_and_only_while_armed(tmp_path: Path) -> None:
    """Three errors in a row, from the N-th on."""
    file = tmp_path / "failpoints"
    file.write_text("before-copy:2=eio")
    points = failpoints.Failpoints(file)
    points.reload()
    points.passing("before-copy")
    for _ in range(3):
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error") as failed:
            points.passing("before-copy")
        assert failed.value.sqlite_errorcode == sqlite3.SQLITE_IOERR_WRITE
    points.passing("before-copy")
    file.write_text("")
    points.reload()
    points.passing("before-copy")


def test_failpoint_kills_its_own_process(tmp_path: Path) -> None:
    """With SIGKILL: nothing is tidied up."""
    file = tmp_path / "failpoints"
    file.write_text("mid-acks:1=kill")
    text = (
        "from pathlib import Path; from bench.audit.failpoints import Failpoints;"
        f"points = Failpoints(Path({str(file)!r})); points.reload(); points.passing('mid-acks')"
    )
    ended = subprocess.run([sys.executable, "-c", text], cwd=ROOT, timeout=30, check=False)
    assert ended.returncode == -signal.SIGKILL


def test_product_knows_nothing_of_failpoints_and_bugs() -> None:
    """They are patched in from outside: no word of them is in the package."""
    for source in (ROOT / "ingest").rglob("*.py"):
        text = source.read_text(encoding="utf-8").lower()
        assert "failpoint" not in text
        assert "nonito_audit" not in text


def test_every_step_is_there() -> None:
    """A renamed method must not silently take a failpoint away."""
    assert {step.name for step in failpoints.possible()} == {s.name for s in failpoints.STEPS}


def batch_body(requests: list[Request], ids: list[str], status: str = "success") -> bytes:
    """Return the answer to a batch, without errors."""
    rows = [
        b'{"id":"%b%b2026-01-10T12:00:00.123Z"}' % (event_id.encode(), request.echo)
        for event_id, request in zip(ids, requests, strict=True)
    ]
    return b'{"status":"%b","data":[%b]}' % (status.encode(), b",".join(rows))


def filed(directory: Path, requests: list[Request], status: int, body: bytes) -> list[str]:
    """Return what became of each event of a batch with this answer, shortly."""
    oracle = Oracle(directory / f"history-{len(list(directory.iterdir()))}")
    for request in requests:
        oracle.sent(request)
    file_answer(oracle, tuple(requests), status, body)
    records = read(oracle.path).records
    shown = (records[each.token] for each in requests)
    return [f"{each.status} {each.id[-1:] or each.code}".strip() for each in shown]


def test_each_event_of_a_batch_has_its_own_row_or_its_own_error(tmp_path: Path) -> None:
    """In the order in which they were sent; whatever is not so is mixed up."""
    sent = [MAKER.good(1, number, Random(number)) for number in range(3)]
    ids = [f"01a20775-3827-7f9a-a84b-77c69c54c24{number}" for number in range(3)]
    whole = batch_body(sent, ids)
    assert filed(tmp_path, sent, 200, whole) == ["200 0", "200 1", "200 2"]
    assert filed(tmp_path, sent, 202, whole) == ["202 0", "202 1", "202 2"]
    swapped = batch_body([sent[0], sent[2], sent[1]], ids)
    assert filed(tmp_path, sent, 200, swapped) == ["200 0", "0 mixed up", "0 mixed up"]
    for wrong in (batch_body(sent[:2], ids[:2]), whole + b" ", whole.replace(b"]", b"")):
        assert "0 mixed up" in filed(tmp_path, sent, 200, wrong)
    assert "0 mixed up" in filed(tmp_path, sent[:2], 200, whole)
    assert filed(tmp_path, sent, 200, b"{") == ["0 mixed up"] * 3
    assert filed(tmp_path, sent, 404, b"{") == ["0 mixed up"] * 3


def error(index: int, code: str = "invalid_json", message: str = "no") -> dict[str, str | int]:
    """Return an event's error as an answer has it."""
    return {"index": index, "code": code, "message": message}


def test_errors_of_a_batch_belong_to_their_events(tmp_path: Path) -> None:
    """By index, each once, and not to all of them."""
    sent = [MAKER.good(1, number, Random(number)) for number in range(3)]
    text = batch_body(sent[1:2], ["01a20775-3827-7f9a-a84b-77c69c54c247"], "partial")[:-1]
    unknown = error(2, "database_error", "it may or may not be stored")

    def told(*errors: dict[str, str | int]) -> list[str]:
        return filed(tmp_path, sent, 207, text + b',"errors":%b}' % orjson.dumps(errors))

    assert told(error(0), unknown) == ["400 invalid_json", "202 7", "0 500 database_error"]
    for wrong in ((), (error(0), error(0)), (error(0), error(3)), (error(0, "no such code"),)):
        assert told(*wrong) == ["0 mixed up"] * 3


def test_batch_that_is_refused_is_refused_for_everybody(tmp_path: Path) -> None:
    """With one error for the document, or one for each event."""
    sent = [MAKER.good(1, number, Random(number)) for number in range(3)]
    whole = {"status": "error", "error": {"code": "overloaded", "message": "full"}}

    def told(*errors: dict[str, str | int]) -> list[str]:
        return filed(tmp_path, sent, 400, orjson.dumps(whole | {"errors": errors}))

    assert filed(tmp_path, sent, 503, orjson.dumps(whole)) == ["503 overloaded"] * 3
    assert told(error(0), error(1), error(2)) == ["400 invalid_json"] * 3
    assert told(error(0), error(1)) == ["0 mixed up"] * 3
