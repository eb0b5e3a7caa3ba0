"""The audit's proxy: it cuts, holds and refuses where it is told to."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from bench.audit.proxy import Proxy, Trap, Way
from ingest.store.cluster import Cluster
from tests.support.postgres import fetch


@pytest.fixture
async def proxy(cluster: Cluster, empty_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of a Postgres with a table."""
    await fetch(empty_url, "CREATE TABLE seen (n int)")
    host = cluster.url("x").partition("host=")[2].replace("%2F", "/")
    opened = Proxy(f"{host}/.s.PGSQL.5432")
    await opened.open()
    yield opened
    await opened.close()


async def _connect(proxy: Proxy, url: str) -> "asyncpg.Connection[asyncpg.Record]":
    address = f"postgres@127.0.0.1:{proxy.port}{urlsplit(url).path}"
    return await asyncpg.connect(f"postgresql://{address}?sslmode=disable", timeout=5)


@pytest.mark.parametrize(
    ("trap", "is_told", "count"),
    [(Trap.BEFORE_ANSWER, False, 1), (Trap.AFTER_ANSWER, True, 1), (Trap.HALF_SENT, False, 0)],
)
async def test_proxy_cuts_where_it_is_told(
    proxy: Proxy, empty_url: str, trap: Trap, *, is_told: bool, count: int
) -> None:
    """Committed and not told, committed and told, not committed: then the next one works."""
    connection = await _connect(proxy, empty_url)
    springing = asyncio.create_task(proxy.spring(trap, 5))
    await asyncio.sleep(0)
    padding = "x" * 2_000
    try:
        await connection.execute(f"INSERT INTO seen VALUES (1) /* {padding} */")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        assert not is_told
    else:
        assert is_told
    assert await springing
    await asyncio.sleep(0.1)
    assert len(await fetch(empty_url, "SELECT FROM seen")) == count
    again = await _connect(proxy, empty_url)
    assert await again.fetchval("SELECT 1") == 1
    await again.close()


async def test_proxy_holds_and_releases(proxy: Proxy, empty_url: str) -> None:
    """Nothing is lost of what was held."""
    connection = await _connect(proxy, empty_url)
    proxy.hold()
    asking = asyncio.create_task(connection.fetchval("SELECT 1"))
    await asyncio.sleep(0.3)
    assert not asking.done()
    proxy.release()
    assert await asyncio.wait_for(asking, 5) == 1
    proxy.refuse()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await _connect(proxy, empty_url)
    proxy.allow()
    again = await _connect(proxy, empty_url)
    await again.close()


@pytest.mark.parametrize(("way", "count"), [(Way.SENT, 0), (Way.ANSWERED, 1)])
async def test_proxy_holds_one_way_only(proxy: Proxy, empty_url: str, way: Way, count: int) -> None:
    """What Postgres never hears it does not do; what it does nobody hears of, until the release."""
    connection = await _connect(proxy, empty_url)
    proxy.hold(way)
    asking = asyncio.create_task(connection.execute("INSERT INTO seen VALUES (1)"))
    await asyncio.sleep(0.3)
    assert not asking.done()
    assert len(await fetch(empty_url, "SELECT FROM seen")) == count
    proxy.release()
    assert await asyncio.wait_for(asking, 5) == "INSERT 0 1"
    await connection.close()


async def test_stranded_session_keeps_its_locks_until_the_release(
    proxy: Proxy, empty_url: str
) -> None:
    """Its client is told at once, and may connect anew; Postgres is not."""
    connection = await _connect(proxy, empty_url)
    await connection.execute("BEGIN; LOCK TABLE seen")
    proxy.strand()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    again = await _connect(proxy, empty_url)
    with pytest.raises(asyncpg.LockNotAvailableError):
        await again.execute("BEGIN; LOCK TABLE seen NOWAIT")
    proxy.release()
    await again.execute("ROLLBACK; SET lock_timeout = '5s'; BEGIN; LOCK TABLE seen; COMMIT")
    await again.close()
