"""Group commit: what gathers beside a COPY in flight, and when the next one begins."""

import asyncio

import pytest

from ingest.delivery import queue as module
from tests.delivery.queueing import Recorder, make_queue


@pytest.fixture
def _nothing_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long this machine takes, no COPY counts as slow."""
    monkeypatch.setattr(module, "SLOW_COPY_S", 60.0)


@pytest.mark.usefixtures("_nothing_is_slow")
async def test_second_copy_begins_with_as_many_events_as_the_first_holds() -> None:
    """Fewer gather on, however many writers wait; the one that makes it ripe wakes one of them."""
    queue = make_queue()
    for _ in range(3):
        queue.put(b"row", Recorder())
    await queue.take()
    second = asyncio.create_task(queue.take())
    for events in (1, 2):
        queue.put(b"row", Recorder())
        await asyncio.sleep(0.01)
        assert (second.done(), queue.waiting_events) == (False, events)
    queue.put(b"row", Recorder())
    queue.put(b"row", Recorder())
    batch = await asyncio.wait_for(second, 1)
    assert len(batch.rows) == 4


@pytest.mark.usefixtures("_nothing_is_slow")
async def test_of_several_workers_each_has_one_copy_at_a_time() -> None:
    """Whatever gathers, until a batch is full; its own writer comes back for it."""
    queue = make_queue(events_max=100, bytes_max=10_000, batch_events=10, batch_bytes=1000)
    queue.may_pair = False
    queue.put(b"row", Recorder())
    first = await queue.take()
    second = asyncio.create_task(queue.take())
    for _ in range(9):
        queue.put(b"row", Recorder())
        await asyncio.sleep(0.01)
        assert not second.done()
    queue.put(b"row", Recorder())
    queue.put(b"row", Recorder())
    assert len((await asyncio.wait_for(second, 1)).rows) == 10
    queue.done(first)


async def test_batch_that_is_full_does_not_wait_for_the_copy_in_flight() -> None:
    """Also when it has fewer events than that COPY, for it can take in no more."""
    queue = make_queue(bytes_max=1000, batch_events=10)
    for _ in range(4):
        queue.put(b"row", Recorder())
    await queue.take()
    second = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    for _ in range(2):
        queue.put(b"x" * 80, Recorder())
    batch = await asyncio.wait_for(second, 1)
    assert [len(row) for row in batch.rows] == [80]


@pytest.mark.usefixtures("_nothing_is_slow")
async def test_writer_that_waits_is_woken_by_many_events_put_at_once() -> None:
    """When they are more than are in flight, wherever they are filed."""
    queue = make_queue(events_max=100, bytes_max=10_000, batch_events=10, batch_bytes=1000)
    queue.put_all([b"a"] * 3, [Recorder()] * 3)
    first = await asyncio.wait_for(queue.take(), 1)
    second = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put(b"b", Recorder())
    await asyncio.sleep(0)
    assert (len(first.rows), second.done()) == (3, False)
    queue.put_all([b"c"] * 2, [Recorder()] * 2)
    assert (await asyncio.wait_for(second, 1)).rows == [b"b", b"c", b"c"]
    queue.put_all([b"d"] * 25, [Recorder()] * 25)
    sizes = [len((await asyncio.wait_for(queue.take(), 1)).rows) for _ in range(2)]
    assert sizes == [10, 10]


async def test_slow_copy_holds_up_nobody_but_its_own_events() -> None:
    """Those behind it travel without it, however many it holds."""
    queue = make_queue(events_max=100, bytes_max=10_000, batch_events=10, batch_bytes=1000)
    queue.put_all([b"a"] * 9, [Recorder()] * 9)
    slow = await asyncio.wait_for(queue.take(), 1)
    second = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put(b"b", Recorder())
    assert (await asyncio.wait_for(second, 10)).rows == [b"b"]
    assert len(slow.rows) == 9
    queue.done(slow)


async def test_writer_does_not_wait_for_a_batch_of_the_spill() -> None:
    """Whoever spools it takes no other one from here: these would stay until many more came."""
    queue = make_queue(events_max=8, bytes_max=9999, batch_events=2, batch_bytes=9999)
    queue.put(b"a", Recorder())
    copied = await queue.take()
    relieving = asyncio.create_task(queue.take_spill())
    await asyncio.sleep(0)
    queue.put_all([b"x"] * 7, [Recorder()] * 7)
    spooled = await asyncio.wait_for(relieving, 1)
    queue.done(copied)
    for _ in range(2):
        queue.done(await queue.take())
    last = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.done(spooled)
    assert (await asyncio.wait_for(last, 1)).rows == [b"x"]


async def test_copies_that_always_take_long_are_not_slow() -> None:
    """With a Postgres that is far away batches gather as they do with one that is near."""
    queue = make_queue(events_max=100, bytes_max=10_000, batch_events=10, batch_bytes=1000)
    for _ in range(100):
        queue._learn(1, 1.0)
    assert queue._slow_copy_s > 1.0
