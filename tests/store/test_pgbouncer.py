"""PgBouncer in transaction mode in front of Postgres: everything works, but for notifications.

Its connections are handed from client to client after each transaction. Nothing of ours may stay
behind on one, and nothing of ours may rely on what was left there.
"""

import asyncio
import json
import signal
from collections.abc import Iterator
from datetime import timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from ingest.events import copy_format
from ingest.store import api_keys
from ingest.store.cluster import Cluster
from ingest.store.failures import RowRefused, Unavailable
from ingest.store.horizons import Kept
from ingest.store.keyring import Keyring
from ingest.store.link import CopyLink
from ingest.store.partition_map import existing_ranges
from ingest.store.postgres import Postgres, is_pooled
from ingest.store.retention import Retention
from tests.conftest import prepare
from tests.store import retained
from tests.store.events import assert_works, copy, make_event, make_link, stored_ids, until
from tests.support.pgbouncer import PROGRAM, PgBouncer, running_pgbouncer
from tests.support.postgres import fetch, make_postgres

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")

POOL_SIZE = 3
POLL_INTERVAL_S = 0.5
BAD = b'{"a":"\\u0000"}'


@pytest.fixture(scope="module")
def bouncer(cluster: Cluster) -> Iterator[PgBouncer]:
    """A PgBouncer with Debian's settings, but for a small pool."""
    with running_pgbouncer(cluster, default_pool_size=POOL_SIZE) as running:
        yield running


async def leavings(url: str) -> set[str]:
    """Return what other clients find on each of the pooler's connections: limits and statements."""
    clients = [
        await asyncpg.connect(url, statement_cache_size=0, timeout=10) for _ in range(POOL_SIZE)
    ]
    transactions = [client.transaction() for client in clients]
    found = set()
    for client, transaction in zip(clients, transactions, strict=True):
        await transaction.start()  # each on a connection of its own
        found |= {
            await client.fetchval("SHOW lock_timeout"),
            await client.fetchval("SHOW statement_timeout"),
            *[row["name"] for row in await client.fetch("SELECT name FROM pg_prepared_statements")],
            *[row[0] for row in await client.fetch("SELECT pg_listening_channels()")],
        }
    for client in clients:
        await client.close()
    return found


async def test_pooler_is_noticed_and_said_once(pooled: Postgres, database_url: str) -> None:
    """By the process id, which is its own invention; a direct connection's is the backend's."""
    with capture_logs() as logs:
        for _ in range(3):
            async with pooled.session() as connection:
                assert await is_pooled(connection)
    assert pooled.is_pooled
    assert len([entry for entry in logs if "pooler" in entry["event"]]) == 1
    direct = make_postgres(database_url)
    async with direct.session() as connection:
        assert not await is_pooled(connection)
        assert await connection.fetchval("SHOW statement_timeout") == "4500ms"
    assert not direct.is_pooled


async def test_pooler_that_ignores_the_time_outs_is_noticed_as_well(
    cluster: Cluster, database_url: str
) -> None:
    """With the ignore_startup_parameters that other drivers' users have set."""
    ignored = "lock_timeout,statement_timeout,extra_float_digits"
    with running_pgbouncer(cluster, ignore_startup_parameters=ignored) as own:
        postgres = make_postgres(own.through(database_url))
        async with postgres.session() as connection:
            assert await connection.fetchval("SHOW statement_timeout") == "0"
        assert postgres.is_pooled


async def test_database_that_is_not_there_is_no_pooler_s_refusal(bouncer: PgBouncer) -> None:
    """PgBouncer has one SQLSTATE for both."""
    postgres = make_postgres(bouncer.url("missing"))
    for _ in range(2):
        with pytest.raises(Unavailable) as failed:
            await postgres.connect()
        assert failed.value.stored is False
    assert not postgres.is_pooled


async def test_transaction_can_begin_with_time_outs_that_end_with_it(
    pooled: Postgres, pooled_url: str
) -> None:
    """What a COPY needs is in its transaction and on nobody else's connection afterwards."""
    async with pooled.session() as connection:
        await connection.execute(pooled.begin)
        assert await connection.fetchval("SHOW lock_timeout") == "4s"
        assert await connection.fetchval("SHOW statement_timeout") == "4500ms"
        await connection.execute("COMMIT")
    assert await leavings(pooled_url) == {"0"}


async def test_database_is_migrated_and_partitioned_by_two_at_once(
    bouncer: PgBouncer, empty_url: str
) -> None:
    """Their advisory locks end with their transactions, so none is left on a connection."""
    postgres = make_postgres(bouncer.through(empty_url))
    await asyncio.gather(*(prepare(postgres) for _ in range(POOL_SIZE + 1)))
    async with postgres.session() as connection:
        assert len(await existing_ranges(connection)) == 4
    locks = "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
    assert await fetch(empty_url, f"{locks} AND datname = current_database()") == []
    link = make_link(postgres)
    await assert_works(link, empty_url)
    await link.close()


async def test_keys_are_made_read_and_revoked(pooled: Postgres, pooled_url: str) -> None:
    """As without it; no prepared statement stays behind."""
    async with pooled.session() as connection:
        secret = await api_keys.create(connection, "shop", "", None)
    keyring = Keyring(pooled, poll_interval_s=POLL_INTERVAL_S)
    await keyring.load()
    assert keyring.plain_grant_of(secret) is not None
    async with pooled.session() as connection:
        assert len(await api_keys.revoke(connection, secret)) == 1
    await keyring.load()
    assert keyring.plain_grant_of(secret) is None
    assert await leavings(pooled_url) == {"0"}


async def test_keys_that_change_are_seen_by_polling(pooled: Postgres, pooled_url: str) -> None:
    """Nobody listens on a connection that is the next client's a moment later."""
    keyring = Keyring(pooled, poll_interval_s=POLL_INTERVAL_S)
    await keyring.load()
    watching = asyncio.create_task(keyring.run())
    async with make_postgres(pooled_url).session() as connection:
        secret = await api_keys.create(connection, "shop", "", None)
    await until(lambda: keyring.plain_grant_of(secret) is not None, POLL_INTERVAL_S * 4)
    assert await leavings(pooled_url) == {"0"}
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_batches_are_stored_through_few_connections(
    pooled: Postgres, pooled_url: str, database_url: str
) -> None:
    """Twice as many writers as connections, hundreds of COPYs, each committed whole."""
    links = [make_link(pooled) for _ in range(POOL_SIZE * 2)]
    sent = [[[make_event() for _ in range(10)] for _ in range(60)] for _ in links]

    async def write(number: int) -> None:
        for batch in sent[number]:
            await copy(links[number], *batch)

    await asyncio.gather(*map(write, range(len(links))))
    expected = {event.id for batches in sent for batch in batches for event in batch}
    assert await stored_ids(database_url) == expected
    assert await leavings(pooled_url) == {"0"}
    for link in links:
        await link.close()


async def test_document_of_8_mib_arrives_as_it_was_sent(
    pooled: Postgres, database_url: str
) -> None:
    """Many times the pooler's buffer, and every byte in its place."""
    texts = [f"{number:04d}" * 2000 for number in range(1000)]
    events = [make_event(params=json.dumps({"a": text}).encode()) for text in texts]
    link = make_link(pooled)
    await copy(link, *events)
    stored = await fetch(database_url, "SELECT id, event_params ->> 'a' AS a FROM events")
    expected = {event.id: text for event, text in zip(events, texts, strict=True)}
    assert {row["id"]: row["a"] for row in stored} == expected
    await link.close()


@pytest.mark.parametrize("place", [0, 500, 1000])
@pytest.mark.parametrize("size", [10, 8000])
async def test_refused_row_is_named_and_harms_no_other_client(
    pooled: Postgres, database_url: str, place: int, size: int
) -> None:
    """What is left of its COPY reaches no other client's connection; the rest can be sent again."""
    link, neighbour = make_link(pooled), make_link(pooled)
    good = [make_event(params=b'{"a":"%b"}' % (b"x" * size)) for _ in range(1000)]
    batch = [*good[:place], make_event(params=BAD), *good[place:]]
    with pytest.raises(RowRefused) as refused:
        await copy(link, *batch)
    assert (refused.value.index, refused.value.sqlstate) == (place, "22P05")
    for _ in range(POOL_SIZE):
        await assert_works(neighbour, database_url)
    await copy(link, *good)
    assert {event.id for event in good} < await stored_ids(database_url)
    await link.close()
    await neighbour.close()


async def test_refused_merge_stores_nothing(pooled: Postgres, database_url: str) -> None:
    """It is one transaction, on one connection, which is then in order."""
    link = make_link(pooled)
    rows = [make_event().row, make_event(params=BAD).row]
    with pytest.raises(RowRefused) as refused:
        await link.merge(copy_format.document(rows), 2, has_keys=False)
    assert (refused.value.index, refused.value.sqlstate) == (1, "22P05")
    assert await stored_ids(database_url) == set()
    await assert_works(link, database_url)
    await link.close()


async def test_rows_are_merged_through_any_of_its_connections(
    pooled: Postgres, pooled_url: str, database_url: str
) -> None:
    """The temporary table is gone with each transaction, so none is in the next one's way."""
    links = [make_link(pooled) for _ in range(POOL_SIZE * 2)]
    events = [make_event() for _ in range(100)]
    await copy(links[0], *events[:50])
    document = copy_format.document([event.row for event in events])
    for _ in range(3):
        await asyncio.gather(*(link.merge(document, len(events), has_keys=False) for link in links))
    assert await stored_ids(database_url) == {event.id for event in events}
    assert await leavings(pooled_url) == {"0"}
    for link in links:
        await link.close()


async def fail_over_and_over(link: CopyLink, document: bytes) -> None:
    """COPY into a table that is not there."""
    for _ in range(20):
        with pytest.raises(RowRefused) as failed:
            await link.copy(document, 1000)
        assert failed.value.sqlstate == "42P01"


async def test_copy_that_is_refused_before_its_data_harms_no_other_client(
    bouncer: PgBouncer, own_url: str
) -> None:
    """Postgres says no to the statement while 8 MiB of rows are still on their way.

    PgBouncer would lend the connection on at once and send the next client's words after half a
    message of ours (its pull request 1471); a transaction that we end ourselves keeps it.
    """
    document = copy_format.document([make_event(params=b'{"a":"%b"}' % (b"x" * 8000)).row] * 1000)
    await fetch(own_url, "ALTER TABLE events RENAME TO moved")
    postgres = make_postgres(bouncer.through(own_url))
    links = [make_link(postgres) for _ in range(2)]
    failing = asyncio.gather(*(fail_over_and_over(link, document) for link in links))
    while not failing.done():
        async with postgres.session() as connection:
            assert await connection.fetchval("SELECT 41 + 1") == 42
    await failing
    await fetch(own_url, "ALTER TABLE moved RENAME TO events")
    for link in links:
        await assert_works(link, own_url)
        await link.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_restart_leaves_the_fate_unknown_and_is_over_at_once(
    cluster: Cluster, database_url: str, number: signal.Signals
) -> None:
    """A COPY that was under way may be stored, whole or not at all; then all works again."""
    with running_pgbouncer(cluster) as own:
        link = make_link(make_postgres(own.through(database_url)))
        await assert_works(link, database_url)
        locker = await asyncpg.connect(database_url, timeout=10)
        async with locker.transaction():
            await locker.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            batch = [make_event() for _ in range(100)]
            copying = asyncio.create_task(copy(link, *batch))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(own.stop, number)
            with pytest.raises(Unavailable) as failed:
                await copying
        await locker.close()
        assert failed.value.stored is None
        with pytest.raises(Unavailable) as refused:
            await copy(link, make_event())
        assert refused.value.stored is False
        await asyncio.to_thread(own.start)
        await assert_works(link, database_url)
        await link.close()
    stored = await stored_ids(database_url) & {event.id for event in batch}
    assert len(stored) in (0, 100)


async def test_old_events_go_through_the_pooler(
    pooled: Postgres, pooled_url: str, database_url: str
) -> None:
    """With their partition and by themselves; no limit of that stays behind."""
    name = await retained.make_partition(database_url, 100)
    await fetch(database_url, "INSERT INTO apps (name) VALUES ('old')")
    await retained.store(database_url, [100, 50, 1])
    try:
        before = await leavings(pooled_url)
        done = await Retention(pooled, Kept(30, -1), timedelta(0)).round()
        assert done.partitions == 1
        assert await retained.ages(database_url) == [1]
        assert await leavings(pooled_url) == before
    finally:
        await fetch(database_url, f"DROP TABLE IF EXISTS {name}")
        await fetch(database_url, "TRUNCATE retention")
