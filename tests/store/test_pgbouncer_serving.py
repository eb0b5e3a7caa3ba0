"""A server, and `nonito check`, that are given the address of a PgBouncer in transaction mode."""

import asyncio
from collections.abc import Iterator

import pytest

from ingest.delivery.events_table import EVENTS
from ingest.store import api_keys, checks
from ingest.store.cluster import Cluster
from ingest.store.postgres import Postgres
from tests.conftest import make_key
from tests.store.events import stored_ids
from tests.support.command import run, succeed
from tests.support.pgbouncer import PROGRAM, PgBouncer, running_pgbouncer
from tests.support.postgres import fetch, make_postgres
from tests.support.server import Server, running_server, wait_for

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")

POLL_INTERVAL_S = 0.5


@pytest.fixture(scope="module")
def bouncer(cluster: Cluster) -> Iterator[PgBouncer]:
    """A PgBouncer with the settings of its package."""
    with running_pgbouncer(cluster) as running:
        yield running


async def test_check_says_what_works_and_what_to_set(pooled: Postgres) -> None:
    """In words: nothing is wrong, keys are polled for, and where time-outs are to be set."""
    async with pooled.session() as connection:
        await api_keys.create(connection, "shop", "", None)
        findings = await checks.examine(connection, EVENTS, 12)
    assert [finding.text for finding in findings if not finding.is_good] == []
    text = "\n".join(finding.text for finding in findings)
    for words in ("pooler", "server_login_retry", "keys.poll_interval_s", "12 clients"):
        assert words in text
    assert "ALTER ROLE postgres SET statement_timeout = '5s'" in text


async def test_check_says_that_time_outs_are_set(pooled: Postgres) -> None:
    """Where the role has them; here for one transaction."""
    async with pooled.session() as connection, connection.transaction():
        for name in ("lock_timeout", "statement_timeout"):
            await connection.execute(f"SET LOCAL {name} = '5s'")
        findings = await checks.examine(connection, EVENTS, 12)
    text = "\n".join(finding.text for finding in findings)
    assert "lock_timeout and statement_timeout are set" in text
    assert "ALTER ROLE" not in text


async def test_check_refuses_a_pooler_without_transactions(
    cluster: Cluster, database_url: str
) -> None:
    """In statement mode nothing that takes two statements works."""
    with running_pgbouncer(cluster, pool_mode="statement") as own:
        connection = await make_postgres(own.through(database_url)).connect()
        (finding,) = await checks.examine(connection, EVENTS, 12)
        connection.terminate()
    assert not finding.is_good
    assert "pool_mode = transaction" in finding.text


def test_check_command_has_the_words(bouncer: PgBouncer, database_url: str) -> None:
    """And ends with 0."""
    make_key(database_url)
    text = succeed(run("--database-url", bouncer.through(database_url), "check"))
    assert "WRONG" not in text
    assert "a pooler stands before Postgres" in text


def status(server: Server, key: str) -> int:
    """Send an event with a key."""
    return server.post({"event_name": "test"}, **{"X-API-Key": key}).status_code


def test_server_takes_events_and_follows_keys_through_it(
    pooled_url: str, database_url: str
) -> None:
    """From start to SIGTERM, with nothing but the pooler's address to go by."""
    arguments = ("--database-url", pooled_url)
    settings = {"keys.poll_interval_s": POLL_INTERVAL_S}
    with running_server(arguments, make_key(pooled_url), settings) as server:
        answers = [server.post({"event_name": "test", "event_params": {"n": n}}) for n in range(50)]
        assert {answer.status_code for answer in answers} == {200}
        made = make_key(pooled_url, "later")
        wait_for(lambda: status(server, made) == 200, POLL_INTERVAL_S * 4)
        asyncio.run(fetch(database_url, "UPDATE api_keys SET revoked_at = now()"))
        wait_for(lambda: status(server, made) == 401, POLL_INTERVAL_S * 4)
        assert server.stop() == 0
        assert server.logs().count("connected through a pooler") == 1
    ids = {answer.json()["data"][0]["id"] for answer in answers}
    assert ids <= {str(found) for found in asyncio.run(stored_ids(database_url))}
