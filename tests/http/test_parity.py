"""Both lanes answer alike: single requests and pipelines, however their bytes are split.

The suite tries every 41st split of a single request, and every 7th of a pipeline, and at most a
hundred of each; PARITY_STRIDE=1 tries all of them, and 400 of a large one (some minutes).
"""

import asyncio
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import make_key
from tests.http.browsers import BEACONS
from tests.http.cases import KEY, Case
from tests.http.checks import query
from tests.http.corpus import CASES, SLOW
from tests.http.pipelines import PIPELINES, Pipeline
from tests.support.postgres import new_database
from tests.support.raw import HOST
from tests.support.server import Server, running_server

pytestmark = pytest.mark.both_lanes

STRIDE = int(os.environ.get("PARITY_STRIDE", "41"))
PIPELINE_STRIDE = min(STRIDE, 7)
SPLITS_MAX = 400 if STRIDE == 1 else 100
TRIES = 4
AT_ONCE = 64
TIMEOUT_S = 20.0
# A sweep hands an incomplete request over after a second or two: not what is compared here.
PAUSE_S = 0.002
ANSWER_WAIT_S = 3.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
IGNORED = {"date"}
_ID_AND_TIME = re.compile(rb'"id":"[0-9a-f-]{36}"|"created_at":"[0-9TZ:.-]+"')
_CODE = re.compile(rb'"code":"(\w+)"')
_RESET = struct.pack("ii", 1, 0)


class Lanes(NamedTuple):
    """Two servers on one database."""

    fast: Server
    aiohttp: Server
    url: str


@contextmanager
def running_lanes(cluster: Cluster, *, key_in_query: bool, workers: int = 1) -> Iterator[Lanes]:
    """Run one server with the fast lane, and one without."""
    with new_database(cluster) as url, ExitStack() as stack:
        key, arguments = make_key(url), ("--database-url", url)
        settings = {"server.key_in_query": key_in_query, "server.workers": workers}
        fast, plain = (
            stack.enter_context(
                running_server(arguments, key, {"server.fast_lane": on, **settings})
            )
            for on in (True, False)
        )
        yield Lanes(fast, plain, url)


@pytest.fixture(scope="module")
def lanes(cluster: Cluster) -> Iterator[Lanes]:
    """Two servers as they are by default."""
    with running_lanes(cluster, key_in_query=False) as running:
        yield running


@pytest.fixture(scope="module")
def beacon_lanes(cluster: Cluster) -> Iterator[Lanes]:
    """Two servers that take keys in the query."""
    with running_lanes(cluster, key_in_query=True) as running:
        yield running


class Answer(NamedTuple):
    """What a client can tell of an answer, but for ids and times."""

    status: bytes
    headers: dict[bytes, bytes]
    body: bytes


def understand(received: bytes) -> list[Answer]:
    """Return all answers on a connection; raise ValueError for anything that is none.

    Without a 100: whether one is sent depends on which comes first, the handler or the body.
    """
    answers = []
    while received := received.removeprefix(CONTINUE):
        head, separator, received = received.partition(b"\r\n\r\n")
        if not separator:
            raise ValueError(head)
        status, *lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        length = int(headers.get(b"content-length", b"0"))
        body, received = received[:length], received[length:]
        kept = {name: value for name, value in headers.items() if name.decode() not in IGNORED}
        answers.append(Answer(status, kept, _ID_AND_TIME.sub(b"", body)))
    return answers


async def ask(server: Server, pieces: list[bytes]) -> list[Answer]:
    """Send pieces on a connection of its own, then close the sending side; return the answers."""
    reader, writer = await asyncio.open_connection(HOST, server.port)
    client = writer.get_extra_info("socket")
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    begun = asyncio.get_running_loop().create_future()
    received = asyncio.create_task(_read_all(reader, begun))
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(PAUSE_S)
        # Only then: an end that comes before the answer shows in its Connection header.
        await asyncio.wait({begun}, timeout=ANSWER_WAIT_S)
        writer.write_eof()
    except (ConnectionError, OSError):
        pass  # refused before all of it was sent
    try:
        return understand(await asyncio.wait_for(received, TIMEOUT_S))
    finally:
        with suppress(OSError):  # it may be closed already
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # leaves no TIME_WAIT
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _read_all(reader: asyncio.StreamReader, begun: asyncio.Future[None]) -> bytes:
    received = b""
    try:
        while piece := await reader.read(65536):
            received += piece
            if not begun.done() and received != CONTINUE:
                begun.set_result(None)
    except ConnectionError:
        pass
    return received


def splits(request: bytes, stride: int, most: int = SPLITS_MAX) -> list[list[bytes]]:
    """Return the request whole, and cut in two at many places."""
    step = max(stride, len(request) // most, 1)
    places = range(1 + hash(request) % step, len(request), step)
    return [[request], *([request[:place], request[place:]] for place in places)]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in SLOW], ids=lambda case: case.name
)
async def test_both_lanes_answer_alike_however_the_bytes_are_split(
    lanes: Lanes, case: Case
) -> None:
    """The same status, headers and body, but for id and time, and as many answers."""
    await compare_lanes(lanes, case)


@pytest.mark.parametrize("case", BEACONS, ids=lambda case: case.name)
async def test_both_lanes_answer_beacons_alike(beacon_lanes: Lanes, case: Case) -> None:
    """Those whose query is read, too."""
    await compare_lanes(beacon_lanes, case)


async def compare_lanes(
    lanes: Lanes, case: Case, stride: int = STRIDE, most: int = SPLITS_MAX
) -> None:
    """Send a request to both lanes, cut in every way; check that they answer alike."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def compare(pieces: list[bytes]) -> None:
        # aiohttp's own answer to a malformed chunk depends on when its second piece arrives; a
        # difference between the lanes is there each time.
        for _ in range(TRIES):
            async with gate:
                both = (ask(lanes.fast, pieces), ask(lanes.aiohttp, pieces))
                fast, plain = await asyncio.gather(*both)
            if fast == plain:
                return
        assert fast == plain, f"split at {len(pieces[0])}"

    request = case.with_key(lanes.fast.key)
    await asyncio.gather(*(compare(pieces) for pieces in splits(request, stride, most)))


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda pipeline: pipeline.name)
async def test_good_request_is_answered_whatever_stands_behind_it(
    lanes: Lanes, pipeline: Pipeline
) -> None:
    """In both lanes, in order, each for itself, and stored, however the bytes are split."""
    await check_pipeline(lanes, pipeline)


async def check_pipeline(lanes: Lanes, pipeline: Pipeline, stride: int = PIPELINE_STRIDE) -> None:
    """Send it to both lanes, cut in every way; check the answers, and what is stored."""
    before = await asyncio.to_thread(_stored, lanes)
    gate = asyncio.Semaphore(AT_ONCE)

    async def check(server: Server, pieces: list[bytes]) -> None:
        async with gate:
            answers = await ask(server, pieces)
        outcomes = [_outcome(answer) for answer in answers]
        assert outcomes == pipeline.outcomes, f"split at {len(pieces[0])}"
        assert _says_close(answers[-1]) is pipeline.closes, f"split at {len(pieces[0])}"

    request = pipeline.request.replace(KEY, lanes.fast.key.encode())
    sent = [(server, pieces) for pieces in splits(request, stride) for server in lanes[:2]]
    async with asyncio.TaskGroup() as group:
        for each in sent:
            group.create_task(check(*each))
    assert await asyncio.to_thread(_stored, lanes) - before == len(sent) * pipeline.events


def _outcome(answer: Answer) -> str:
    """Return an answer's status, or its code; what a malformed chunk is called depends on luck."""
    code = _CODE.search(answer.body)
    return (code[1] if code else answer.status.split()[1]).decode()


def _says_close(answer: Answer) -> bool:
    default = b"close" if answer.status.startswith(b"HTTP/1.0") else b"keep-alive"
    return answer.headers.get(b"connection", default) == b"close"


def _stored(lanes: Lanes) -> int:
    (row,) = query(lanes.url, "SELECT count(*) FROM events")
    return int(row["count"])
