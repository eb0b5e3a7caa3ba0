"""A 202 leaves after its event is on the disk, and never before: by the trace of system calls.

kill -9 can't tell, since the kernel keeps what was written. So the calls of a real server are
traced while it spools, and each answer is held against the spool's write-ahead log (WAL). Its
event is durable once

1. the frame with its row was written to a WAL: the 16 bytes of the id in the answer are looked for
   in the row's COPY tuple, so an answer is held against its own batch and not a neighbour's;
2. the frame that commits that transaction was written: a frame's head of 24 bytes, whose second
   number is not 0, then its page;
3. an fsync or fdatasync of that WAL was asked for after that, and has succeeded; and
4. where the WAL was made during the trace, so has an fsync of its directory.

The order of lines is that of the calls: the tracer holds a thread at the beginning and at the end
of each call until the line is written, so what a thread does because of another's fsync comes
behind the end of that. Rows are small enough for a batch to be in one piece on its page.
"""

import asyncio
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer, prepare
from tests.support import server as serving
from tests.support import trace
from tests.support.postgres import make_postgres, running_cluster
from tests.support.raw import connected
from tests.support.server import Server
from tests.support.trace import NEVER, Call

pytestmark = pytest.mark.slow

CONNECTIONS: Final = 32
SPOOL_BYTES_MAX: Final = 8_000_000
"""So small that the spool begins another file, of 1 MiB, during a run."""
STATUS: Final = b"HTTP/1.1 "
ID: Final = re.compile(rb'"id":"([0-9a-f-]{36})"')
ROW: Final = re.compile(rb"\0\x07\0\0\0\x04.{4}\0\0\0\x10(.{16})", re.DOTALL)
"""A COPY tuple's beginning: seven fields, `app_id` in 4 bytes, the id in 16."""
WAL_HEAD_BYTES: Final = 32
FRAME_HEAD: Final = struct.Struct(">II16x")
"""The page's number; the size of the database in pages if the frame commits, else 0."""


@dataclass
class Wal:
    """A write-ahead log as it is written: what is in it, and since when that can't be lost."""

    path: str
    is_named: bool
    """Whether its directory is known to have it."""
    commits: bool = False
    """Whether the page that comes next is the last one of its transaction."""
    open_ids: set[str] = field(default_factory=set)
    """In pages of a transaction that is not committed yet."""
    written: dict[str, int] = field(default_factory=dict)
    """In committed transactions, with the line on which the last frame had been written."""
    synced: set[str] = field(default_factory=set)
    """In committed transactions that were synced since."""

    def write(self, call: Call) -> None:
        """Take a frame's head, or its page, or the head of the WAL."""
        if len(call.data) == FRAME_HEAD.size:
            self.commits = FRAME_HEAD.unpack(call.data)[1] > 0
        elif len(call.data) != WAL_HEAD_BYTES:
            self.open_ids |= {str(UUID(bytes=found)) for found in ROW.findall(call.data)}
            if self.commits:
                self.written |= dict.fromkeys(self.open_ids - self.written.keys(), call.ended)
                self.open_ids.clear()

    def sync(self, call: Call) -> None:
        """Take an fsync that succeeded."""
        self.synced |= {id_ for id_, ended in self.written.items() if ended < call.began}


class Order:
    """What a trace shows: when each event was durable, and when its answer was begun."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.durable: dict[str, int] = {}
        """By an event's id: the line on which the last fsync that it needs had ended."""
        self.answered: dict[str, int] = {}
        """By the id in a 202: the line on which the answer's first byte was written."""
        self.new_wals = 0
        self._wals: dict[str, Wal] = {}
        self._status_lines: dict[str, int] = {}
        for call in calls:
            if call.path.startswith("socket:"):
                self._answer(call)
            elif call.name in {"fsync", "fdatasync"}:
                self._sync(call)
            elif call.path.endswith("-wal"):
                self._write(call)

    @property
    def early(self) -> list[str]:
        """Return the ids whose answers left before their events were durable."""
        return [
            id_ for id_, began in self.answered.items() if self.durable.get(id_, NEVER) >= began
        ]

    def _answer(self, call: Call) -> None:
        if STATUS in call.data:
            self._status_lines[call.path] = call.began
        for found in ID.findall(call.data):
            self.answered[found.decode()] = self._status_lines[call.path]

    def _write(self, call: Call) -> None:
        wal = self._wals.get(call.path)
        if wal is None:
            is_new = len(call.data) == WAL_HEAD_BYTES
            wal = self._wals[call.path] = Wal(call.path, is_named=not is_new)
            self.new_wals += is_new
        wal.write(call)

    def _sync(self, call: Call) -> None:
        if call.result != 0:
            return
        if wal := self._wals.get(call.path):
            wal.sync(call)
        for wal in self._wals.values():
            wal.is_named |= wal.path.startswith(f"{call.path}/")
            if wal.is_named:
                for id_ in wal.synced:
                    self.durable.setdefault(id_, call.ended)
                wal.synced.clear()


@pytest.fixture(scope="module")
def postgres_to_stop() -> Iterator[Cluster]:
    """A Postgres of this module's own, with a migrated database; skip where nothing is traced."""
    if obstacle := trace.obstacle():
        pytest.skip(obstacle)
    with running_cluster() as running:
        running.create_database(OWN_DATABASE)
        asyncio.run(prepare(make_postgres(running.url(OWN_DATABASE))))
        yield running


def start_spooling(
    cluster: Cluster, start_server: StartServer, *, fast_lane: str = "true"
) -> Server:
    """Start a server and take its Postgres away."""
    cluster.start()
    server = start_server(
        cluster.url(OWN_DATABASE),
        server__fast_lane=fast_lane,
        spool__bytes_max=SPOOL_BYTES_MAX,
    )
    cluster.stop()
    assert server.post({"event_name": "first"}).status_code == 202
    return server


def post(server: Server, events: int) -> set[str]:
    """Post so many events one after the other on each of 32 connections; return their ids."""
    body = b'{"event_name":"traced"}'
    request = (
        f"POST /event HTTP/1.1\r\nHost: {server.url}\r\nX-API-Key: {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body

    def work(_: int) -> list[str]:
        with connected(server.port) as client:
            answers = [client.ask(request) for _ in range(events)]
        assert {answer.status for answer in answers} == {202}
        return [answer.json()["data"][0]["id"] for answer in answers]

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return {id_ for ids in pool.map(work, range(CONNECTIONS)) for id_ in ids}


def trace_posts(server: Server, events: int, output: Path) -> Order:
    """Post so many events on each connection; return what the server did meanwhile."""
    with trace.tracing(server.worker_pid, output):
        acknowledged = post(server, events)
    with output.open(encoding="ascii") as lines:
        order = Order(trace.parse(lines))
    assert len(acknowledged) == events * CONNECTIONS
    assert order.answered.keys() == acknowledged, "the trace is not whole"
    return order


@pytest.mark.parametrize(("fast_lane", "events"), [("true", 40), ("false", 10)])
def test_no_202_leaves_before_its_event_is_on_the_disk(
    postgres_to_stop: Cluster,
    start_server: StartServer,
    tmp_path: Path,
    fast_lane: str,
    events: int,
) -> None:
    """1,280 acknowledgements of the fast lane, while a new file is begun, and 320 of aiohttp's."""
    server = start_spooling(postgres_to_stop, start_server, fast_lane=fast_lane)
    order = trace_posts(server, events, tmp_path / "trace")
    assert order.early == []
    assert order.durable.keys() >= order.answered.keys()
    assert order.new_wals > 0 or fast_lane == "false"


@pytest.mark.parametrize("bug", ["without_fsync", "without_fsync_of_the_wal", "before_the_commit"])
def test_server_that_answers_too_early_is_caught(
    postgres_to_stop: Cluster,
    start_server: StartServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bug: str,
) -> None:
    """Each of its acknowledgements, by the same check of the same load."""
    launch = f"from tests.support import hasty; hasty.{bug}()"
    monkeypatch.setattr(serving, "COMMAND", (sys.executable, "-c", launch))
    server = start_spooling(postgres_to_stop, start_server)
    order = trace_posts(server, 5, tmp_path / "trace")
    assert set(order.early) == order.answered.keys()


def hexed(data: bytes) -> str:
    """Write bytes as the trace has them."""
    return "".join(f"\\x{byte:02x}" for byte in data)


SPOOL, WAL = hexed(b"/spool"), hexed(b"/spool/a.db-wal")
A_ROW = b"\0\x07\0\0\0\x04\0\0\0\x01\0\0\0\x10" + UUID(int=7).bytes
ANSWER = b'HTTP/1.1 202 Accepted\r\n\r\n{"id":"%s"}' % str(UUID(int=7)).encode()
LINES: Final = {
    "wal": f'7 pwrite64(5<{WAL}>, "{hexed(bytes(WAL_HEAD_BYTES))}", 32, 0) = 32',
    "head": f'7 pwrite64(5<{WAL}>, "{hexed(FRAME_HEAD.pack(2, 0))}", 24, 32) = 24',
    "row": f'7 pwrite64(5<{WAL}>, "{hexed(A_ROW)}", 30, 56) = 30',
    "last-head": f'7 pwrite64(5<{WAL}>, "{hexed(FRAME_HEAD.pack(3, 5))}", 24, 86) = 24',
    "page": f'7 pwrite64(5<{WAL}>, "{hexed(bytes(100))}", 100, 110) = 100',
    "sync": f"7 fdatasync(5<{WAL}>) = 0",
    "sync-begins": f"7 fdatasync(5<{WAL}> <unfinished ...>",
    "sync-ends": "7 <... fdatasync resumed>) = 0",
    "sync-fails": f"7 fdatasync(5<{WAL}>) = -1 EIO (Input/output error)",
    "sync-directory": f"7 fsync(6<{SPOOL}>) = 0",
    "answer": f'8 write(9<{hexed(b"socket:[1]")}>, "{hexed(ANSWER)}", 65) = 65',
    "thread-ends": "7 +++ exited with 0 +++",
}
COMMITTED: Final = "wal head row last-head page"


@pytest.mark.parametrize(
    ("course", "is_early"),
    [
        (f"{COMMITTED} sync sync-directory answer thread-ends", False),
        (f"{COMMITTED} sync-directory sync-begins sync-ends answer", False),
        ("head row last-head page sync answer", False),
        (f"{COMMITTED} sync-directory sync-begins answer sync-ends", True),
        (f"{COMMITTED} sync-directory sync-begins answer", True),
        (f"{COMMITTED} sync-directory sync-fails answer", True),
        (f"{COMMITTED} sync answer sync-directory", True),
        (f"{COMMITTED} sync-directory answer sync", True),
        ("wal head row sync sync-directory last-head page answer", True),
        ("wal head row last-head sync page sync-directory answer", True),
        ("wal last-head page sync sync-directory answer", True),
    ],
)
def test_check_wants_each_step_in_its_order(course: str, is_early: bool) -> None:  # noqa: FBT001
    """A trace of one event; a log that was there before needs no sync of its directory."""
    order = Order(trace.parse(LINES[step] for step in course.split()))
    assert bool(order.early) is is_early
    assert len(order.answered) == 1
