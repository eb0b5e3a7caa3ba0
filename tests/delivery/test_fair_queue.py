"""A flooded queue is shared: who waits for little is overtaken by little, and is never refused."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.delivery.backlog import RESERVE_PART
from ingest.delivery.batch import Batch
from ingest.delivery.queue import EventQueue
from ingest.errors import Refusal
from ingest.events import copy_reader
from tests.delivery.queueing import Recorder, make_queue, row_of

FLOOD, CALM, OTHER = 1, 2, 3
EVENTS_MAX = 160
BATCH = 10
CHUNK = 2
PART = EVENTS_MAX // RESERVE_PART // 3
"""Of the reserve, for each of three apps."""


def flooded(*apps: int, events: int = EVENTS_MAX * 2, writers: int = 2) -> EventQueue:
    """Return a queue into which apps have put as much as they could, one after the other."""
    queue = make_queue(events_max=EVENTS_MAX, bytes_max=10**6, batch_events=BATCH, batch_bytes=9999)
    queue.meet({FLOOD, CALM, OTHER})
    queue.writers = writers
    for app_id in apps:
        for _ in range(events):
            put(queue, app_id)
    return queue


def put(queue: EventQueue, app_id: int) -> bool:
    """Put an event; return whether it was taken in."""
    try:
        queue.put(row_of(app_id), Recorder())
    except Refusal:
        return False
    return True


def apps_of(batch: Batch) -> Counter[int]:
    """Return how many events of each app a batch has."""
    return copy_reader.count_apps(batch.rows)


async def taken(queue: EventQueue) -> Batch:
    """Take a batch without a wait."""
    async with asyncio.timeout(1):
        return await queue.take()


async def is_ready(taking: Coroutine[Any, Any, Batch]) -> Batch | None:
    """Return what there is to be taken at once; None if there is nothing."""
    task = asyncio.ensure_future(taking)
    for _ in range(3):
        await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    return None


async def test_app_alone_may_fill_the_queue_and_no_more() -> None:
    """Also where others have been met, who have nothing there."""
    queue = flooded(FLOOD)
    assert queue.waiting_events == EVENTS_MAX


async def test_batches_of_an_app_alone_are_as_large_as_ever() -> None:
    """Behind what gathered while nothing waited yet."""
    queue = flooded(FLOOD)
    await taken(queue)
    assert [len((await taken(queue)).rows) for _ in range(5)] == [BATCH] * 5


async def test_event_of_another_app_is_let_in_and_goes_next() -> None:
    """Into a queue that is full to its last place: it is overtaken by what is on its way alone."""
    queue = flooded(FLOOD)
    assert not put(queue, FLOOD)
    assert put(queue, CALM)
    await taken(queue)
    assert apps_of(await taken(queue))[CALM] == 1


async def test_writer_is_kept_for_those_who_wait_for_little() -> None:
    """The flood has all but one of them, as long as somebody else was there lately."""
    queue = flooded(FLOOD)
    put(queue, CALM)
    first = await taken(queue)
    assert apps_of(first) == {FLOOD: CHUNK}  # had gathered before
    both = await taken(queue)
    assert apps_of(both)[CALM] == 1
    assert await is_ready(queue.take()) is None
    put(queue, CALM)
    assert apps_of(await taken(queue)) == {CALM: 1}
    queue.done(both)
    assert apps_of(await taken(queue)) == {FLOOD: BATCH}


async def test_writer_that_is_kept_is_woken_by_who_waits_for_little() -> None:
    """And not by the flood."""
    queue = flooded(FLOOD)
    put(queue, CALM)
    await taken(queue)
    await taken(queue)
    kept = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put_all([row_of(OTHER)] * 2, [Recorder()] * 2)
    assert apps_of(await asyncio.wait_for(kept, 1)) == {OTHER: 2}


async def test_single_writer_takes_of_each_app_in_turn() -> None:
    """A chunk of each; of the queues that have one writer."""
    queue = flooded(FLOOD, writers=1)
    await taken(queue)
    for _ in range(3):
        queue.put_all([row_of(CALM)] * CHUNK, [Recorder()] * CHUNK)
    found = [apps_of(await taken(queue)) for _ in range(4)]
    assert found == [*[{FLOOD: CHUNK, CALM: CHUNK}] * 3, {FLOOD: BATCH}]


async def test_two_floods_get_as_much_of_the_writers() -> None:
    """However much more one of them has there."""
    queue = flooded(FLOOD)
    while queue.waiting_events > EVENTS_MAX // 2:
        queue.done(await taken(queue))
    for _ in range(EVENTS_MAX // 3):
        put(queue, OTHER)
    got: Counter[int] = Counter()
    while got.total() < EVENTS_MAX // 2:
        batch = await taken(queue)
        got += apps_of(batch)
        queue.done(batch)
    assert abs(got[FLOOD] - got[OTHER]) <= BATCH


async def test_full_queue_is_emptied_to_the_last_event_when_it_is_closed() -> None:
    """Whoever has something there."""
    queue = flooded(FLOOD, CALM, OTHER)
    queue.close()
    before, rows = queue.waiting_events, 0
    while queue.waiting_events:
        batch = await taken(queue)
        rows += len(batch.rows)
        queue.done(batch)
    await asyncio.wait_for(queue.drain(), 1)
    assert rows == before == queue.accepted_events


async def test_drain_waits_for_a_document_that_no_batch_has_room_for() -> None:
    """It is in the backlog from the beginning."""
    queue = flooded()
    queue.put_all([row_of(FLOOD)] * BATCH * 2, [Recorder()] * BATCH * 2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.drain(), 0.01)


async def test_spill_takes_from_who_has_the_most() -> None:
    """Behind what gathered first, which is of all."""
    queue = flooded(FLOOD)
    assert put(queue, CALM)
    await queue.take_spill()
    assert [apps_of(await queue.take_spill()) for _ in range(2)] == [{FLOOD: BATCH}] * 2


async def test_accepted_events_are_counted_by_app() -> None:
    """While they wait and behind that, each once."""
    queue = flooded(FLOOD, CALM)
    queue.count()
    while queue.waiting_events:
        put(queue, OTHER)
        queue.done(await taken(queue))
    assert queue.newly_accepted.total() == queue.accepted_events


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from((FLOOD, FLOOD, CALM, OTHER)), st.one_of(st.just(1), st.integers(1, 40))
        ),
        st.just((0, 0)),
    ),
    max_size=80,
)
"""An app and how many events it sends, as one document or one by one; or a writer comes round."""


class Model:
    """A queue, and beside it a plain list of what each app has sent and of what came out."""

    def __init__(self, writers: int) -> None:
        self.queue = flooded(writers=writers)
        self.sent = defaultdict[int, list[Recorder]](list)
        self.got = defaultdict[int, list[object]](list)
        self.in_copy: list[Batch] = []
        self._writers = writers

    async def come_round(self) -> None:
        """Have a writer take what there is; the first that took something is done with it."""
        if len(self.in_copy) == self._writers:
            self.queue.done(self.in_copy.pop(0))
        batch = await is_ready(self.queue.take())
        if batch is None:
            return
        self.in_copy.append(batch)
        assert 0 < len(batch.rows) <= BATCH
        for row, waiter in zip(batch.rows, batch.waiters, strict=True):
            self.got[copy_reader.app_id(row)].append(waiter)

    def send(self, app_id: int, events: int) -> None:
        """Send events, which may be refused unless they are within the app's part."""
        rows, waiters = [row_of(app_id)] * events, [Recorder() for _ in range(events)]
        held = len(self.sent[app_id]) - len(self.got[app_id])
        try:
            self._file(rows, waiters)
        except Refusal:
            assert held + events > PART
        else:
            self.sent[app_id] += waiters
        assert self.queue.waiting_events <= EVENTS_MAX + EVENTS_MAX // RESERVE_PART

    def _file(self, rows: list[bytes], waiters: list[Recorder]) -> None:
        if len(rows) == 1:
            self.queue.put(rows[0], waiters[0])
        else:
            self.queue.require(rows)
            self.queue.put_all(rows, waiters)

    async def finish(self) -> None:
        """Take all that is left, and compare."""
        while self.queue.waiting_events or self.in_copy:
            await self.come_round()
            if self.in_copy:
                self.queue.done(self.in_copy.pop(0))
        assert self.got == {app_id: waiters for app_id, waiters in self.sent.items() if waiters}
        await asyncio.wait_for(self.queue.drain(), 1)


@given(steps=STEPS, writers=st.integers(1, 3))
def test_nothing_is_lost_doubled_or_refused_that_is_within_its_part(
    steps: list[tuple[int, int]], writers: int
) -> None:
    """Each app's events come out once and in order, the bounds hold, and so does the reserve."""

    async def work() -> None:
        model = Model(writers)
        for app_id, events in steps:
            if app_id:
                model.send(app_id, events)
            else:
                await model.come_round()
        await model.finish()

    asyncio.run(work())


class Looked(list[bytes]):
    """Rows that count how many of them are looked at as parts of their list."""

    looked = 0

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - as of any list
        found = super().__getitem__(at)
        self.looked += len(found) if isinstance(at, slice) else 1
        return found


async def test_rows_of_which_few_fit_into_a_chunk_are_each_looked_at_a_few_times() -> None:
    """Not each with all that would come behind it: 2,000 of them held up everybody for 50 ms."""
    queue = make_queue(events_max=5000, bytes_max=10**6, batch_events=2500, batch_bytes=2000)
    queue.meet({FLOOD, CALM})
    rows = Looked([row_of(FLOOD)] * 2000)
    queue.put_all(rows, [Recorder()] * len(rows))
    assert (queue.waiting_events, queue.waiting_bytes) == (2000, 20_000)
    assert [len((await taken(queue)).rows) for _ in range(10)] == [200] * 10
    assert rows.looked < 5 * len(rows)


async def test_among_many_floods_each_goes_before_another_has_two_turns() -> None:
    """So nobody is overtaken by more than a chunk of each."""
    floods = range(10, 30)
    queue = make_queue(events_max=2000, bytes_max=10**6, batch_events=BATCH, batch_bytes=9999)
    queue.meet({CALM, *floods})
    for app_id in floods:
        queue.put_all([row_of(app_id)] * 50, [Recorder()] * 50)
    queue.put(row_of(CALM), Recorder())
    before: Counter[int] = Counter()
    while CALM not in (found := apps_of(await taken(queue))):
        before += found
    assert max(before.values()) <= CHUNK
