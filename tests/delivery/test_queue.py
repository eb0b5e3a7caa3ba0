"""The queue: bounded, first in first out, batched by itself, and nobody is left waiting."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.delivery.batch import Batch
from ingest.delivery.outcome import Ack, Duplicate, Outcome, settle
from ingest.delivery.queue import EventQueue
from ingest.errors import Code, Refusal
from tests.delivery.queueing import Recorder, make_queue, row_of


class Gone:
    """A waiter whose client went away: telling it raises, as uvloop does."""

    def settle(self, _outcome: Outcome, _row: bytes = b"") -> None:
        """Fail."""
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")


def refused_code(queue: EventQueue, row: bytes) -> Code | None:
    """Put a row; return the code it was refused with, if it was."""
    try:
        queue.put(row, Recorder())
    except Refusal as refusal:
        return refusal.code
    return None


async def test_everything_that_waits_is_taken_in_order() -> None:
    """One batch, first in first out."""
    queue = make_queue()
    for number in range(5):
        queue.put(b"%d" % number, Recorder())
    batch = await queue.take()
    assert batch.rows == [b"0", b"1", b"2", b"3", b"4"]


async def test_few_events_go_as_soon_as_the_copy_in_flight_is_done() -> None:
    """Whoever did it takes them."""
    queue = make_queue()
    for _ in range(3):
        queue.put(b"row", Recorder())
    batch = await queue.take()
    queue.put(b"one", Recorder())
    queue.done(batch)
    assert (await asyncio.wait_for(queue.take(), 1)).rows == [b"one"]


async def test_writer_that_was_cancelled_while_waiting_loses_no_event() -> None:
    """The event goes to the next one."""
    queue = make_queue()
    cancelled = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    queue.put(b"row", Recorder())
    batch = await asyncio.wait_for(queue.take(), 1)
    assert batch.rows == [b"row"]


async def test_closed_queue_refuses_new_events_and_drains_the_old_ones() -> None:
    """`drain` ends when the last batch is done, not before."""
    queue = make_queue()
    queue.put(b"row", Recorder())
    queue.close()
    assert refused_code(queue, b"late") is Code.SHUTTING_DOWN
    draining = asyncio.create_task(queue.drain())
    batch = await queue.take()
    await asyncio.sleep(0)
    assert not draining.done()
    queue.done(batch)
    await asyncio.wait_for(draining, 1)


async def test_unsettled_events_count_those_in_flight() -> None:
    """The metrics need what waits and what is in a COPY."""
    queue = make_queue()
    queue.put(b"one", Recorder())
    batch = await queue.take()
    queue.put(b"three", Recorder())
    assert (queue.unsettled_events, queue.unsettled_bytes) == (2, 8)
    settle(batch.release(), Ack.COMMITTED)
    queue.done(batch)
    assert (queue.unsettled_events, queue.unsettled_bytes) == (1, 5)


def test_client_that_is_gone_costs_its_neighbours_nothing() -> None:
    """Everybody else in the batch is told."""
    batch = Batch(10, 1000)
    waiters: list[Recorder | Gone] = [Recorder(), Gone(), Recorder(), Gone(), Recorder()]
    for waiter in waiters:
        batch.rows.append(b"row")
        batch.waiters.append(waiter)
    settle(batch.release(), Ack.COMMITTED)
    assert [each.told for each in waiters if isinstance(each, Recorder)] == [[Ack.COMMITTED]] * 3


async def test_everybody_is_told_once_when_the_process_ends() -> None:
    """Waiting or in flight; a batch that was settled is not told again."""
    queue = make_queue()
    settled, in_flight, waiting = Recorder(), Recorder(), Recorder()
    refusal = Refusal(Code.DATABASE_ERROR, "stopped")
    queue.put(b"a", settled)
    batch = await queue.take()
    settle(batch.release(), Ack.COMMITTED)
    queue.done(batch)
    queue.put(b"b", in_flight)
    await queue.take()
    queue.put(b"c", waiting)
    queue.refuse_all(refusal)
    assert [settled.told, in_flight.told, waiting.told] == [[Ack.COMMITTED], [refusal], [refusal]]


def test_events_that_are_answered_leave_the_batch_and_the_others_stay() -> None:
    """By their index, whichever; each is told its own outcome and nobody else's."""
    batch = Batch(10, 1000)
    waiters = [Recorder() for _ in range(5)]
    for number, waiter in enumerate(waiters):
        batch.rows.append(b"%d" % number)
        batch.waiters.append(waiter)
    refusal = Refusal(Code.REJECTED_BY_DATABASE, "no")
    duplicate = Duplicate(Ack.COMMITTED, b"{}")
    batch.answer({4: refusal, 0: duplicate})
    assert batch.rows == [b"1", b"2", b"3"]
    assert batch.waiters == waiters[1:4]
    batch.answer({1: refusal})
    assert batch.rows == [b"1", b"3"]
    batch.answer({})
    settle(batch.release(), Ack.COMMITTED)
    assert [each.told for each in waiters] == [
        [duplicate],
        [Ack.COMMITTED],
        [refusal],
        [Ack.COMMITTED],
        [refusal],
    ]


def test_client_that_is_gone_is_no_reason_not_to_answer_the_others() -> None:
    """And its event has left the batch all the same."""
    batch = Batch(10, 1000)
    other = Recorder()
    batch.rows, batch.waiters = [b"a", b"b", b"c"], [Gone(), other, Recorder()]
    batch.answer(dict.fromkeys((0, 1), Ack.SPOOLED))
    assert (batch.rows, other.told) == ([b"c"], [Ack.SPOOLED])


def required_code(queue: EventQueue, events: int, size: int) -> Code | None:
    """Ask for room; return the code of the refusal, if there was one."""
    try:
        queue.require([b"x" * (size - events + 1), *[b"x"] * (events - 1)])
    except Refusal as refusal:
        return refusal.code
    return None


async def test_room_for_a_batch_is_required_before_it_is_put() -> None:
    """In events and bytes; what is in flight does not count, and asking takes nothing."""
    queue = make_queue(events_max=10, bytes_max=100, batch_events=4, batch_bytes=40)
    assert required_code(queue, 10, 100) is None
    assert required_code(queue, 11, 1) is Code.PAYLOAD_TOO_LARGE
    assert required_code(queue, 1, 101) is Code.PAYLOAD_TOO_LARGE
    for _ in range(6):
        queue.put(b"x" * 10, Recorder())
    assert required_code(queue, 4, 40) is None
    assert required_code(queue, 5, 1) is Code.OVERLOADED
    assert required_code(queue, 1, 41) is Code.OVERLOADED
    assert required_code(queue, 11, 1) is Code.PAYLOAD_TOO_LARGE
    await queue.take()
    assert required_code(queue, 8, 80) is None
    assert queue.accepted_events == 6
    queue.close()
    assert required_code(queue, 1, 1) is Code.SHUTTING_DOWN


def has_room(queue: EventQueue, rows: list[bytes]) -> bool:
    """Ask for room."""
    try:
        queue.require(rows)
    except Refusal:
        return False
    return True


async def waiting_rows(queue: EventQueue) -> list[bytes]:
    """Take everything that waits; return its rows."""
    rows: list[bytes] = []
    while queue.waiting_events:
        batch = await queue.take()
        assert len(batch.rows) == len(batch.waiters)
        assert batch.has_room(0, 0)
        assert batch.bytes == sum(map(len, batch.rows))
        rows += batch.rows
        queue.done(batch)
    return rows


@given(
    before=st.lists(st.integers(10, 60), max_size=12),
    batch=st.lists(st.integers(10, 90), min_size=1, max_size=12),
)
def test_batch_for_which_there_is_room_can_be_put_to_its_end(
    before: list[int], batch: list[int]
) -> None:
    """Whatever lies there, however it was cut: all or none depends on it."""

    async def work() -> None:
        queue = make_queue(events_max=20, bytes_max=500, batch_events=4, batch_bytes=90)
        for size in before:
            if refused_code(queue, row_of(1, size)):
                break
        already = [row_of(1, size) for size in before[: queue.waiting_events]]
        rows = [row_of(1, size) for size in batch]
        if has_room(queue, rows):
            queue.put_all(rows, [Recorder() for _ in rows])
            assert sorted(await waiting_rows(queue)) == sorted([*already, *rows])
        else:
            assert len(already) + len(batch) > 20 or queue.waiting_bytes + sum(batch) > 500

    asyncio.run(work())


@pytest.mark.parametrize(("events", "size"), [(3, 1), (20, 20), (20, 50)])
async def test_full_queue_refuses_and_takes_in_again_once_emptied(events: int, size: int) -> None:
    """Both bounds hold, in events and in bytes; what was refused is not counted."""
    queue = make_queue(events_max=events, bytes_max=200)
    codes = [refused_code(queue, b"x" * size) for _ in range(30)]
    room = min(events, 200 // size)
    assert codes == [None] * room + [Code.OVERLOADED] * (30 - room)
    assert (queue.accepted_events, queue.waiting_events) == (room, room)
    while queue.waiting_events:
        queue.done(await queue.take())
    assert refused_code(queue, b"x" * size) is None


@given(sizes=st.lists(st.integers(1, 150), max_size=60))
def test_batches_keep_their_bounds_and_lose_nothing(sizes: list[int]) -> None:
    """No batch has more events or bytes than allowed, but for one event larger than a batch."""

    async def work() -> list[Batch]:
        queue = make_queue(events_max=1000, bytes_max=100_000, batch_events=7)
        for size in sizes:
            queue.put(b"x" * size, Recorder())
        batches = []
        while queue.waiting_events:
            batches.append(await queue.take())
            queue.done(batches[-1])
        return batches

    batches = asyncio.run(work())
    assert sorted(len(row) for batch in batches for row in batch.rows) == sorted(sizes)
    for batch in batches:
        assert len(batch.rows) <= 7
        assert batch.bytes <= 100 or len(batch.rows) == 1


async def test_waiting_writer_is_woken_by_the_first_event() -> None:
    """One of several, and only one."""
    queue = make_queue()
    takers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.put(b"row", Recorder())
    done, waiting = await asyncio.wait(takers, timeout=0.1)
    assert [task.result().rows for task in done] == [[b"row"]]
    assert len(waiting) == 2
    for task in waiting:
        task.cancel()
