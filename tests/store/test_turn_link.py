"""A link in turn: connected while it is this process's, and passed on when another one waits."""

import asyncio

import pytest

from ingest.delivery.events_table import EVENTS
from ingest.share.turn import Turn
from ingest.store.failures import NoTurn
from ingest.store.postgres import Postgres
from ingest.store.turn_link import TurnLink
from tests.share.others import NUMBER, Other
from tests.store.events import copy, make_event, stored_ids
from tests.support.server import wait_for


def make(postgres: Postgres, descriptor: int | None, hold_s: float = 0.0) -> TurnLink:
    """Return a link in the turn that the other process takes."""
    return TurnLink(postgres, EVENTS, None, Turn(NUMBER, descriptor), hold_s=hold_s)


async def write(link: TurnLink, timeout_s: float = 10.0) -> None:
    """Store an event in a piece of work."""
    async with link.held(timeout_s):
        await copy(link, make_event())


async def watch(link: TurnLink) -> None:
    """Have it passed on while it is idle."""
    while True:
        await asyncio.sleep(0.02)
        await link.pass_on_idle()


async def until_taken(other: Other) -> None:
    """Wait until the other process has the turn that it asked for."""
    assert await asyncio.to_thread(other.hear) == "taken"


@pytest.mark.parametrize("is_shared", [False, True])
async def test_process_that_nobody_waits_behind_connects_once(
    postgres: Postgres, database_url: str, descriptor: int, *, is_shared: bool
) -> None:
    """However often it writes, and whether there might be others or not."""
    link = make(postgres, descriptor if is_shared else None)
    watching = asyncio.create_task(watch(link))
    await write(link)
    first = link._connection
    for _ in range(5):
        await asyncio.sleep(0.06)
        await write(link)
    assert link._connection is first
    assert len(await stored_ids(database_url)) == 6
    watching.cancel()
    await link.close()
    assert postgres.open_connections == 0


async def test_idle_one_is_passed_on_with_its_connection_closed(
    postgres: Postgres, descriptor: int, other: Other
) -> None:
    """As soon as another process waits for it."""
    link = make(postgres, descriptor)
    watching = asyncio.create_task(watch(link))
    await write(link)
    assert postgres.open_connections == 1
    other.ask()
    await until_taken(other)
    assert postgres.open_connections == 0
    watching.cancel()
    await link.close()


async def test_one_that_is_never_idle_is_passed_on_between_two_pieces_of_work(
    postgres: Postgres, descriptor: int, other: Other
) -> None:
    """Never in the middle of one."""
    link = make(postgres, descriptor)
    async with link.held(10):
        other.ask()
        await asyncio.to_thread(wait_for, lambda: link.is_due)
        await copy(link, make_event())
        assert postgres.open_connections == 1
    assert postgres.open_connections == 0
    await until_taken(other)
    await link.close()


async def test_work_of_a_process_without_the_turn_says_so_in_time(
    postgres: Postgres, descriptor: int, other: Other
) -> None:
    """It has connected to nothing; when the other one dies it goes on."""
    link = make(postgres, descriptor)
    other.take()
    with pytest.raises(NoTurn):
        await write(link, 0.2)
    assert postgres.open_connections == 0
    other.process.kill()
    await write(link)
    await link.close()


async def test_work_that_fails_or_is_cancelled_lets_others_have_it(
    postgres: Postgres, descriptor: int, other: Other
) -> None:
    """Whatever comes out of it."""
    link = make(postgres, descriptor)
    began = asyncio.Event()

    async def work() -> None:
        async with link.held(10):
            await copy(link, make_event())
            began.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await began.wait()
    other.ask()
    await asyncio.to_thread(wait_for, lambda: link.is_due)
    task.cancel()
    await asyncio.wait([task])
    await until_taken(other)
    assert postgres.open_connections == 0


async def test_others_wait_no_longer_than_it_may_be_held(
    postgres: Postgres, descriptor: int, other: Other
) -> None:
    """So long it is kept all the same: a connection for every batch would cost more."""
    link = make(postgres, descriptor, hold_s=0.5)
    await write(link)
    first = link._connection
    other.ask()
    await asyncio.to_thread(wait_for, lambda: link._turn.is_wanted)
    await write(link)
    assert link._connection is first
    async with asyncio.timeout(10):
        while link._connection is first:
            await write(link)
    await until_taken(other)
    await link.close()
