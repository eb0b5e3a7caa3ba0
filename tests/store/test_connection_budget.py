"""What a server needs of connections is compared with all that limits it, less what others use."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from ingest.store import connection_budget
from ingest.store.connection_budget import ConnectionBudget
from tests.support.postgres import fetch, make_postgres


async def read(url: str, needs: int) -> ConnectionBudget:
    """Return what is read as the server does it."""
    async with make_postgres(url).session() as connection:
        return await connection_budget.read(connection, needs)


@asynccontextmanager
async def sessions(url: str, count: int, name: str) -> AsyncIterator[None]:
    """Hold so many sessions of an application."""
    async with AsyncExitStack() as stack:
        for _ in range(count):
            settings = {"application_name": name}
            connection = await asyncpg.connect(url, timeout=10, server_settings=settings)
            stack.push_async_callback(connection.close)
        yield


def test_each_worker_has_its_own_and_all_have_a_handful() -> None:
    """Two that commit, and the dedup queue's."""
    one = connection_budget.needed(workers=1, writers=2)
    assert connection_budget.needed(workers=16, writers=2) == one + 15 * 3
    assert connection_budget.needed(workers=1, writers=2, has_insights=True) == one + 6
    assert one - 3 <= 10


async def test_limit_is_that_of_postgres_less_what_is_reserved(database_url: str) -> None:
    """And less what others use."""
    before = await read(database_url, 10)
    assert before.limit == "max_connections"
    assert before.allowed == 300 - 3  # of superusers
    assert before.is_enough
    async with sessions(database_url, 5, "psql"):
        used = await read(database_url, 10)
    assert used.others >= 5
    spare = 297 - used.others
    async with sessions(database_url, 5, "psql"):
        assert not (await read(database_url, spare + 5)).is_enough


async def test_sessions_of_this_server_are_no_others_as_far_as_it_needs_them(own_url: str) -> None:
    """A check beside a server that runs; beyond that they are another server's."""
    (row,) = await fetch(own_url, "SELECT current_database() AS name")
    await fetch(own_url, f'ALTER DATABASE "{row["name"]}" CONNECTION LIMIT 12')
    async with sessions(own_url, 4, "nonito"), sessions(own_url, 2, "nonito-archive"):
        assert await read(own_url, 9) == (9, 0, 12, "the database's CONNECTION LIMIT")
        other = await read(own_url, 4)
        assert (other.others, other.is_enough) == (2, True)
    assert (await read(own_url, 12)).is_enough
    short = await read(own_url, 13)
    assert not short.is_enough
    assert str(short) == (
        "13 connections at most, the database's CONNECTION LIMIT allows 12:"
        " raise it, or lower server.workers or writer.connections"
    )


async def test_limit_of_the_role_counts_too(own_url: str) -> None:
    """With the sessions of that role alone, in whichever database."""
    await fetch(own_url, "CREATE ROLE limited LOGIN CONNECTION LIMIT 3")
    try:
        budget = await read(own_url.replace("postgres@", "limited@"), 4)
    finally:
        await fetch(own_url, "DROP ROLE limited")
    assert (budget.limit, budget.allowed, budget.is_enough) == (
        "the role's CONNECTION LIMIT",
        3,
        False,
    )
