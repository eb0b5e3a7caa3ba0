"""One connection is kept; after whatever failure of its it is a new one."""

import asyncio

import asyncpg
import pytest

from ingest.store.failures import NoTurn, Unavailable
from ingest.store.kept import Kept
from ingest.store.postgres import Connection
from tests.support.postgres import make_postgres


async def pid_of(connection: Connection) -> int:
    """Return which backend answers."""
    return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def test_connection_is_kept_and_replaced_when_it_has_died(database_url: str) -> None:
    """What changes nothing is done again, and nobody notices."""
    kept = Kept(make_postgres(database_url))
    first = await kept.read(pid_of)
    assert await kept.read(pid_of) == first
    other = await asyncpg.connect(database_url)
    await other.execute("SELECT pg_terminate_backend($1)", first)
    await other.close()
    assert await kept.read(pid_of) != first
    await kept.rest()


@pytest.mark.parametrize(
    "error", [RuntimeError("state"), asyncpg.InternalClientError("state"), OSError("gone")]
)
async def test_failure_of_the_connection_ends_it(database_url: str, error: Exception) -> None:
    """Whatever it looks like; what changes something is not done again."""
    kept, tries = Kept(make_postgres(database_url)), 0
    first = await kept.read(pid_of)

    async def fail(_: Connection) -> None:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(Unavailable):
        await kept.change(fail)
    assert tries == 1
    assert await kept.read(pid_of) != first
    await kept.rest()


async def test_what_work_says_itself_undoes_it_and_is_passed_on(database_url: str) -> None:
    """On the same connection as before."""
    kept = Kept(make_postgres(database_url))
    first = await kept.read(pid_of)

    async def work(connection: Connection) -> None:
        await connection.execute("INSERT INTO apps (name) VALUES ('undone')")
        raise LookupError

    with pytest.raises(LookupError):
        await kept.change(work)
    count = await kept.read(lambda connection: connection.fetchval("SELECT count(*) FROM apps"))
    assert (count, await kept.read(pid_of)) == (0, first)
    await kept.rest()


async def test_nobody_waits_for_others_without_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who leaves in the middle leaves a good connection to the next."""
    monkeypatch.setattr("ingest.store.kept._TURN_S", 0.05)
    kept = Kept(make_postgres(database_url))
    long = asyncio.create_task(kept.do(lambda connection: connection.execute("SELECT pg_sleep(4)")))
    await asyncio.sleep(0.2)
    with pytest.raises(NoTurn):
        await kept.read(pid_of)
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)
    assert await kept.read(pid_of) > 0
    await kept.rest()
