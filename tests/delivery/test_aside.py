"""What is set aside is there before anybody is told so, once, of all who wait together."""

import asyncio

import pytest

from ingest.delivery import aside
from ingest.delivery.aside import Aside, Unfit
from ingest.errors import Code, Refusal
from ingest.store.postgres import Postgres
from tests.support.postgres import fetch, make_postgres

NOW_MS = 1_795_000_000_000
EVENTS = 400


def unfit(number: int) -> Unfit:
    """Return an event with a number."""
    return Unfit(number.to_bytes(16, "big"), "a", "{", None, Refusal(Code.INVALID_JSON, "No."))


async def kept(url: str) -> int:
    """Return how many there are."""
    ((count,),) = await fetch(url, "SELECT count(*) FROM rejected_events")
    return int(count)


async def test_all_who_wait_have_theirs_kept_once(postgres: Postgres, database_url: str) -> None:
    """In transactions of a bounded size; two send the same, as a client does that tries again."""
    keeping = Aside(postgres)
    batches = [[unfit(each * EVENTS + n) for n in range(EVENTS)] for each in (0, 1, 2, 3, 3)]
    await asyncio.gather(*(keeping.keep(1, batch, NOW_MS) for batch in batches))
    assert await kept(database_url) == 4 * EVENTS


async def test_so_many_may_wait_and_no_more(postgres: Postgres, database_url: str) -> None:
    """The others are told to come again."""
    keeping = Aside(postgres)
    waiting = aside._WAITING_MAX + 20
    told = await asyncio.gather(
        *(keeping.keep(1, [unfit(each)], NOW_MS) for each in range(waiting)),
        return_exceptions=True,
    )
    refused = [each for each in told if isinstance(each, Refusal)]
    assert 0 < len(refused) <= 20
    assert {each.status for each in refused} == {503}
    assert await kept(database_url) == waiting - len(refused)


async def test_everybody_is_told_that_postgres_is_away() -> None:
    """Nobody waits for ever."""
    keeping = Aside(make_postgres("postgresql://x@127.0.0.1:1/none"))
    told = await asyncio.gather(
        *(keeping.keep(1, [unfit(each)], NOW_MS) for each in range(5)), return_exceptions=True
    )
    assert [each.status for each in told if isinstance(each, Refusal)] == [503] * 5


@pytest.mark.parametrize("waiting", [1, 5])
async def test_transaction_takes_whole_requests_up_to_a_bound(
    postgres: Postgres, waiting: int
) -> None:
    """And one whatever its size."""
    keeping = Aside(postgres)
    tasks = [
        asyncio.create_task(keeping.keep(1, [unfit(each * 2_000 + n) for n in range(600)], NOW_MS))
        for each in range(waiting)
    ]
    async with keeping._one_at_a_time:
        await asyncio.sleep(0)
        assert len(keeping._take()) == min(waiting, 2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
