"""A server of two workers answers as one process does, whichever of them a connection comes to."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from bench.agreement import fuzz
from ingest.store.cluster import Cluster
from tests.http.checks import query
from tests.http.corpus import CASES, SLOW
from tests.http.pipelines import PIPELINES
from tests.http.test_parity import Lanes, ask, check_pipeline, compare_lanes, running_lanes
from tests.support.server import Server

pytestmark = pytest.mark.both_lanes

STRIDE = 300
"""Most requests are sent whole, and cut once."""
SPLITS_MAX = 4
"""A large one is cut so often: with one worker it is everywhere (`test_parity.py`)."""
MUTATIONS = 400
AT_ONCE = 16
BODY_BYTES_MAX = 70_000


@pytest.fixture(scope="module")
def lanes(cluster: Cluster) -> Iterator[Lanes]:
    """Two servers of two workers each."""
    with running_lanes(cluster, key_in_query=False, workers=2) as running:
        yield running


async def test_both_lanes_of_two_workers_answer_alike(lanes: Lanes) -> None:
    """Every case of the corpus."""
    for case in CASES:
        if case.name not in SLOW:
            await compare_lanes(lanes, case, STRIDE, SPLITS_MAX)


async def test_pipelines_are_answered_and_stored_by_two_workers(lanes: Lanes) -> None:
    """In order, each request for itself."""
    for pipeline in PIPELINES:
        await check_pipeline(lanes, pipeline, STRIDE)


async def test_mutated_heads_disturb_no_worker(lanes: Lanes) -> None:
    """Whatever stands in them gets an answer that is no 5xx; what got a 200 is stored, once."""
    server, random, gate = lanes.fast, Random(13), asyncio.Semaphore(AT_ONCE)
    workers = [each.pid for each in server.workers()]
    before = await asyncio.to_thread(stored, lanes)

    async def send(request: bytes) -> Counter[bytes]:
        async with gate:
            answers = await ask(server, [request])
        return Counter(answer.status.split()[1] for answer in answers)

    requests = [mutated(server, random) for _ in range(MUTATIONS)]
    statuses = sum(await asyncio.gather(*map(send, requests)), Counter[bytes]())
    assert statuses[b"200"] > MUTATIONS / 10
    assert not [status for status in statuses if status.startswith(b"5") and status != b"505"]
    assert await asyncio.to_thread(stored, lanes) - before == statuses[b"200"]
    assert [each.pid for each in server.workers()] == workers


def mutated(server: Server, random: Random) -> bytes:
    """Return a request whose head is not as it was, with an event of the length that it tells."""
    head = fuzz.mutate(random).replace(fuzz.KEY.encode(), server.key.encode())
    length = head.lower().rpartition(b"content-length:")[2].split(b"\r")[0].strip()
    return head + b'{"event_name":"x"}'.ljust(
        min(int(length), BODY_BYTES_MAX) if length.isdigit() else 0
    )


def stored(lanes: Lanes) -> int:
    """Return how many events there are."""
    (row,) = query(lanes.url, "SELECT count(*) FROM events")
    return int(row["count"])
