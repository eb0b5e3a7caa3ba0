"""The promise under load: a 200 means the row is in Postgres, exactly once."""

import asyncio
import signal

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer
from tests.support.load import History, drive
from tests.support.postgres import fetch
from tests.support.server import Server, books_balance, wait_until_drained

pytestmark = pytest.mark.slow

CONNECTIONS = 64
LOAD_S = 3.0


async def stored(url: str, name: str = "load") -> dict[str, int]:
    """Return the id and number of every stored event of a name; ids are unique by their key."""
    sql = "SELECT id::text, (event_params->>'n')::int AS n FROM events WHERE event_name = $1"
    rows = await fetch(url, sql, name)
    return {row["id"]: row["n"] for row in rows}


async def run_for(server: Server, seconds: float) -> History:
    """Drive a server for a while."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    return await drive(server, CONNECTIONS, stop)


async def test_every_answer_under_load_is_a_200_and_a_row(
    server: Server, database_url: str
) -> None:
    """64 connections: nothing but 200, and as many rows as answers, each with its payload."""
    history = await run_for(server, LOAD_S)
    assert set(history.statuses) == {200}
    assert history.broken == 0
    assert await stored(database_url) == history.sent


async def test_restart_of_postgres_costs_nobody_anything(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """Nothing but 200 and 202, and every one of them is a row once the spool is empty."""
    url = own_cluster.url(OWN_DATABASE)
    server = await asyncio.to_thread(start_server, url)
    load = asyncio.create_task(run_for(server, LOAD_S + 2))
    await asyncio.sleep(LOAD_S / 2)
    await asyncio.to_thread(own_cluster.stop)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(own_cluster.start)
    history = await load
    await asyncio.to_thread(wait_until_drained, server)
    assert set(history.statuses) == {200, 202}
    assert await stored(url) == history.sent
    balance = books_balance(server.metrics())
    assert balance == 0


async def test_sigterm_under_load_answers_everybody_and_loses_nothing(
    server: Server, database_url: str
) -> None:
    """Every request that was taken is answered, every 200 is stored, and the exit code is 0."""
    stop = asyncio.Event()
    load = asyncio.create_task(drive(server, CONNECTIONS, stop))
    await asyncio.sleep(1)
    server.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(server.process.wait, 20)
    stop.set()
    history = await load
    assert code == 0
    assert set(history.statuses) <= {200, 503}
    assert set(history.codes) <= {"shutting_down"}
    assert await stored(database_url) == history.sent
