"""A full spool is shared: one app fills it, and the others still get their 202."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest.delivery.batch import Batch
from ingest.delivery.fallback import Fallback
from ingest.delivery.outcome import Ack, Outcome
from ingest.delivery.reserve import SpoolReserve
from ingest.errors import Code, Refusal
from ingest.observe.metrics import Metrics
from ingest.spool import Spool
from tests.delivery.queueing import Recorder
from tests.delivery.surroundings import make_row

FLOOD, CALM = 1, 2
BYTES_MAX = 4 << 20
BIG = b'{"a": "%b"}' % (b"x" * 8_000)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    """A small one."""
    opened = Spool(tmp_path, bytes_max=BYTES_MAX, free_bytes_min=0, timeout_s=10)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def fallback(spool: Spool) -> Fallback:
    """A fallback that knows two apps."""
    made = Fallback(spool, Metrics())
    made.reserve.apps = {FLOOD, CALM}
    return made


async def told(fallback: Fallback, *app_ids: int) -> list[Outcome]:
    """Spool a batch of large events of these apps; return what their senders were told."""
    batch, waiters = Batch(1000, 10**7), [Recorder() for _ in app_ids]
    batch.extend([make_row(BIG, app_id=app_id) for app_id in app_ids], waiters, 0)
    await fallback.take(batch, "away", stored=False)
    return [outcome for waiter in waiters for outcome in waiter.told]


def is_full(outcome: Outcome) -> bool:
    """Whether an event was refused as there is no room."""
    return isinstance(outcome, Refusal) and outcome.code is Code.OVERLOADED


async def fill(fallback: Fallback) -> int:
    """Spool events of one app until it is refused; return how many were taken."""
    taken = 0
    while not is_full((await told(fallback, *[FLOOD] * 20))[-1]):
        taken += 20
        assert taken < BYTES_MAX // 8_000
    return taken


async def test_spool_that_one_app_has_filled_takes_events_of_others(fallback: Fallback) -> None:
    """In the same batch, where the others' neighbours are refused; each is told once."""
    assert await fill(fallback) * 8_000 > BYTES_MAX // 2
    found = await told(fallback, FLOOD, CALM, FLOOD, CALM)
    assert [is_full(each) for each in found] == [True, False, True, False]
    assert found[1] is found[3] is Ack.SPOOLED
    assert (fallback.has_room, fallback.has_room_for_some) == (False, True)


async def test_nobody_gets_more_of_the_reserve_than_a_part(
    fallback: Fallback, spool: Spool
) -> None:
    """Nor does it take the spool past its limit."""
    await fill(fallback)
    outcomes = [(await told(fallback, CALM))[0] for _ in range(BYTES_MAX // 8_000)]
    taken = outcomes.count(Ack.SPOOLED)
    assert 0 < taken * 8_000 < spool.reserve_bytes // 2
    assert all(map(is_full, outcomes[taken:]))
    assert spool.bytes <= BYTES_MAX


async def test_what_finds_no_room_even_there_takes_nothing_of_a_part(tmp_path: Path) -> None:
    """As on a disk that others have filled: once there is some, the part is there."""
    spool = Spool(tmp_path, bytes_max=BYTES_MAX, free_bytes_min=1 << 60, timeout_s=10)
    await spool.open()
    fallback = Fallback(spool, Metrics())
    fallback.reserve.apps = {FLOOD, CALM}
    row = make_row(BIG, app_id=CALM)
    part = len(fallback.reserve.admit([row] * 1000))
    fallback.reserve.clear()
    for _ in range(part):
        assert is_full((await told(fallback, CALM))[0])
    assert len(fallback.reserve.admit([row] * 1000)) == part > 0
    await spool.close()


async def test_what_is_in_the_reserve_is_replayed_as_all_else(
    fallback: Fallback, spool: Spool
) -> None:
    """And once there is room for everybody, it is kept anew."""
    taken = await fill(fallback) + (await told(fallback, CALM)).count(Ack.SPOOLED)
    found = 0
    while batches := await spool.oldest(10_000):
        found += sum(len(batch.rows) for batch in batches)
        await spool.remove(batches)
    assert found == spool_events(fallback) >= taken
    assert await told(fallback, FLOOD) == [Ack.SPOOLED]
    assert fallback.has_room


def spool_events(fallback: Fallback) -> int:
    """Return how many events were told to be spooled."""
    return fallback._metrics.spooled_events


async def test_server_of_one_app_is_not_ready_when_its_spool_is_full(fallback: Fallback) -> None:
    """There is nobody whom the reserve is for."""
    fallback.reserve.apps = {FLOOD}
    await fill(fallback)
    assert not fallback.has_room_for_some


@pytest.mark.parametrize(("apps", "processes"), [(1, 1), (2, 1), (10, 1), (10, 4)])
def test_parts_are_even_and_together_no_more_than_the_reserve(apps: int, processes: int) -> None:
    """Of all processes; a part is kept for an app that nobody has met."""
    size, row = 100_000, make_row()
    reserve = SpoolReserve(size)
    reserve.apps, reserve.processes = range(apps), processes
    admitted = {
        app_id: len(reserve.admit([make_row(app_id=app_id)] * 10_000)) for app_id in range(apps)
    }
    parts = max(2, apps) * processes
    assert set(admitted.values()) == {size // parts // len(row)}
    reserve.clear()
    assert reserve.admit([row]) == [0]
