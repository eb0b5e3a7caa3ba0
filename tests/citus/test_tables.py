"""Tables over several nodes: what lies where, what a COPY tells, and what has to be asked."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from bench.citus import Node
from ingest.delivery.commit import Commit
from ingest.delivery.committer import Committer
from ingest.delivery.events_table import EVENTS
from ingest.events import copy_format
from ingest.store import checks, migrations, nodes
from ingest.store.citus import SHARDS
from ingest.store.failures import AlreadyStored, Unavailable
from ingest.store.link import CopyLink
from tests.citus.conftest import App
from tests.conftest import make_key
from tests.store.merging import Sent, make, stored
from tests.support.citus import Citus
from tests.support.postgres import fetch, make_postgres, new_database
from tests.support.server import wait_for

pytestmark = pytest.mark.usefixtures("_empty")
KNOWN = migrations.known()
DISTRIBUTED = ("events", "idempotency_keys", "rejected_events")


@pytest.fixture
def _empty(citus_url: str) -> None:
    """No event of the test before."""
    asyncio.run(fetch(citus_url, "TRUNCATE events"))


async def test_tables_of_events_are_distributed_by_app_and_colocated(citus_url: str) -> None:
    """In few shards each, and nothing else is: an app and all that is its is on one node."""
    found = await fetch(
        citus_url,
        "SELECT table_name::text, distribution_column, colocation_id, shard_count FROM citus_tables"
        " WHERE table_name NOT IN (SELECT inhrelid FROM pg_inherits)",
    )
    assert {row["table_name"] for row in found} == set(DISTRIBUTED)
    assert {row["distribution_column"] for row in found} == {"app_id"}
    assert len({row["colocation_id"] for row in found}) == 1
    assert {row["shard_count"] for row in found} == {SHARDS}


async def test_copy_that_meets_a_stored_id_is_to_be_merged(citus_url: str) -> None:
    """Citus says no more of it than that it failed; the link goes on."""
    link = CopyLink(make_postgres(citus_url), EVENTS)
    document = _document(first := make("first"))
    await link.copy(document, 1)
    with pytest.raises(AlreadyStored):
        await link.copy(document, 1)
    await link.copy(_document(second := make("second")), 1)
    await link.close()
    assert (await stored(citus_url)).keys() == {first.id, second.id}


async def test_row_that_a_check_refuses_costs_its_neighbours_nothing(citus_url: str) -> None:
    """Of all apps: the refused one is told with its SQLSTATE, whichever node has judged it."""
    await fetch(citus_url, "ALTER TABLE events ADD CONSTRAINT mine CHECK (event_name <> 'bad')")
    try:
        link = CopyLink(make_postgres(citus_url), EVENTS)
        good = [make("good", app_id=app_id) for app_id in range(1, 13)]
        sent = [*good[:6], make("bad", app_id=7), *good[6:]]
        commit = Commit([each.row for each in sent])
        await Committer(link).run(commit)
        await link.close()
    finally:
        await fetch(citus_url, "ALTER TABLE events DROP CONSTRAINT mine")
    assert {at: bad.sqlstate for at, bad in commit.refused.items()} == {6: "23514"}
    assert (await stored(citus_url)).keys() == {each.id for each in good}


async def test_every_row_tells_the_transaction_of_the_coordinator(citus_url: str) -> None:
    """However it came in: by COPY, merged, or sifted: the archive goes by these numbers."""
    link = CopyLink(make_postgres(citus_url), EVENTS)
    before = await _next_transaction(citus_url)
    await link.copy(_document(*(make(app_id=app_id) for app_id in range(1, 9))), 8)
    await link.merge(_document(make()), 1, has_keys=False)
    await link.sift(_document(make()), 1, has_keys=False)
    await link.close()
    after = await _next_transaction(citus_url)
    found = [row[0] for row in await fetch(citus_url, "SELECT xact FROM events")]
    assert len(found) == 10
    assert len(set(found)) == 3
    assert all(before < xact < after for xact in found)


async def test_event_whose_node_fails_as_it_commits_is_asked_for_again(
    citus_url: str, apps: dict[Node, list[App]]
) -> None:
    """It may be stored or not: so it is no dead letter, and nobody is told that it is not there."""
    node, (app, *_) = next(iter(apps.items()))
    shard = await fetch(
        citus_url, "SELECT get_shard_id_for_distribution_column('events', $1::int)", app.id
    )
    there = node.url(urlsplit(citus_url).path.removeprefix("/"))
    await _dying_as_it_commits(there, f"events_{shard[0][0]}")
    link = CopyLink(make_postgres(citus_url), EVENTS)
    try:
        with pytest.raises(Unavailable) as failed:
            await link.sift(_document(make(app_id=app.id)), 1, has_keys=False)
    finally:
        await link.close()
        await asyncio.to_thread(wait_for, lambda: _is_there(there), 30)
        await fetch(there, "DROP FUNCTION die CASCADE")
    assert failed.value.stored is None
    assert failed.value.as_refusal().is_passing


async def test_question_which_nodes_are_away_leaves_no_setting_behind(citus_url: str) -> None:
    """Through a pooler the session is another client's the next moment."""
    connection = await asyncpg.connect(citus_url, timeout=10)
    limit = "SHOW citus.node_connection_timeout"
    before = await connection.fetchval(limit)
    assert await nodes.silent(connection) == []
    assert await connection.fetchval(limit) == before
    await connection.close()


async def test_check_finds_nothing_wrong(citus_url: str) -> None:
    """All that storing events takes is tried out there."""
    await asyncio.to_thread(make_key, citus_url)
    connection = await asyncpg.connect(citus_url, timeout=10)
    findings = await checks.examine(connection, EVENTS, 10)
    await connection.close()
    assert [each.text for each in findings if not each.is_good] == []


async def test_check_tells_what_to_set(citus_url: str) -> None:
    """As many connections to each node as it has shards: 4 on two nodes are 2 each."""
    connection = await asyncpg.connect(citus_url, timeout=10)
    await connection.execute("SET citus.max_cached_conns_per_worker = 1")
    findings = await checks.examine(connection, EVENTS, 10)
    await connection.close()
    told = [each.text for each in findings if "max_cached_conns_per_worker" in each.text]
    assert len(told) == 1
    assert "SET citus.max_cached_conns_per_worker = 2" in told[0]


async def _dying_as_it_commits(url: str, shard: str) -> None:
    """Have each session of a node die whose transaction has added to a shard, as it commits."""
    connection = await asyncpg.connect(url, timeout=10)
    await connection.execute(
        "SET citus.enable_manual_changes_to_shards = on; SET citus.enable_ddl_propagation = off;"
        " CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN COPY (SELECT 1) TO PROGRAM ''kill -KILL $PPID''; RETURN NULL; END'"
    )
    await connection.execute(
        f"CREATE CONSTRAINT TRIGGER dying AFTER INSERT ON {shard} DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION die()"
    )
    await connection.close()


def _is_there(url: str) -> bool:
    try:
        return bool(asyncio.run(fetch(url, "SELECT true")))
    except (OSError, asyncpg.PostgresError):
        return False


def _document(*sent: Sent) -> bytes:
    return copy_format.document([each.row for each in sent])


async def _next_transaction(url: str) -> int:
    ((number,),) = await fetch(url, "SELECT txid_current()")
    return int(number)


def test_later_migration_changes_the_tables_on_all_nodes(
    citus: Citus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statement by statement, of distributed tables and of the coordinator's own."""
    sql = (
        "ALTER TABLE events ADD COLUMN later int, ADD COLUMN latest int;\n"
        "CREATE TABLE nonito_later (id int);\n"
        "ALTER TABLE rejected_events ADD COLUMN later int;\n"
    )
    later = migrations.Migration(1 + max(each.version for each in KNOWN), "later", sql)
    with new_database(citus) as url:
        postgres = make_postgres(url)
        asyncio.run(migrations.migrate(postgres))
        monkeypatch.setattr(migrations, "known", lambda: [*KNOWN, later])
        asyncio.run(migrations.migrate(postgres))
        on_shards = (
            "SELECT DISTINCT result FROM run_command_on_shards('events',"
            " $$SELECT count(*) FROM pg_attribute WHERE attrelid = '%s'::regclass"
            " AND attname IN ('later', 'latest')$$)"
        )
        found = asyncio.run(fetch(url, on_shards))
    assert [row["result"] for row in found] == ["2"]
