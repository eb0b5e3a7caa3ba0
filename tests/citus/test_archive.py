"""The archive over several nodes: each event once, also one that its node commits later."""

import asyncio
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from bench.citus import Node
from ingest.delivery.events_table import EVENTS
from ingest.events import copy_format
from ingest.store.link import CopyLink
from tests.archive.archiving import archive, assert_exact, new_id, seen, store
from tests.citus.conftest import App
from tests.store.merging import make
from tests.support.postgres import fetch, make_postgres

GID = "citus_0_4711_1_1"
_NO_RECOVERY = "LOCK TABLE pg_dist_transaction IN SHARE UPDATE EXCLUSIVE MODE"
"""What Citus recovers with a lock that this one keeps out, and nobody's commit waits for it."""

_NO_ARCHIVE = (
    "TRUNCATE events",
    "TRUNCATE archive_files",
    (
        "UPDATE archive_state SET system_identifier = NULL, timeline = NULL, mark = 0,"
        " null_before = NULL, null_done = false"
    ),
)


@pytest.fixture
def path(citus_url: str, tmp_path: Path) -> Path:
    """Where an archive is that is to be begun; there are no events yet."""
    for statement in _NO_ARCHIVE:
        asyncio.run(fetch(citus_url, statement))
    return tmp_path / "archive"


def test_events_of_all_nodes_are_archived_once(
    citus_url: str, apps: dict[Node, list[App]], path: Path
) -> None:
    """In rounds, with a tail between them, and all of it proved equal."""
    for number in range(3):
        for held in apps.values():
            store(citus_url, [{"n": number}] * 5, app_id=held[0].id)
        archive(citus_url, path)
        store(citus_url, [{"n": "tail"}], app_id=apps[next(iter(apps))][0].id)
        assert_exact(citus_url, path)


async def test_event_that_a_node_commits_later_is_archived_then(
    citus_url: str, apps: dict[Node, list[App]], path: Path
) -> None:
    """The coordinator has committed, and COMMIT PREPARED is not there yet: the mark waits."""
    node, app = next((node, held[0]) for node, held in apps.items())
    await asyncio.to_thread(store, citus_url, [{"n": 1}], app_id=app.id)
    await asyncio.to_thread(archive, citus_url, path)
    late = new_id()
    holder = await asyncpg.connect(citus_url, timeout=10)
    async with holder.transaction():
        await holder.execute(_NO_RECOVERY)
        xact = await _commit_half(citus_url, node, app, late)
        await asyncio.to_thread(store, citus_url, [{"n": 2}], app_id=app.id)
        await asyncio.to_thread(archive, citus_url, path)
        ((mark,),) = await fetch(citus_url, "SELECT mark FROM archive_state")
        assert mark <= xact
        await fetch(node.url(_name(citus_url)), f"COMMIT PREPARED '{GID}'")
    await holder.fetch("SELECT recover_prepared_transactions()")
    await holder.close()
    await asyncio.to_thread(archive, citus_url, path)
    ((mark,),) = await fetch(citus_url, "SELECT mark FROM archive_state")
    assert mark > xact
    found = await asyncio.to_thread(seen, citus_url, path, app_id=app.id)
    assert found.count(str(late)) == 1
    await asyncio.to_thread(assert_exact, citus_url, path)


async def test_what_a_node_may_commit_later_is_told_however_it_came_in(
    citus_url: str, apps: dict[Node, list[App]]
) -> None:
    """Also what is all one node's: a mark that did not wait for it would pass it by for ever."""
    app_id = next(iter(apps.values()))[0].id
    link = CopyLink(make_postgres(citus_url), EVENTS)
    documents = [copy_format.document([make("told", app_id=app_id).row]) for _ in range(3)]
    holder = await asyncpg.connect(citus_url, timeout=10)
    async with holder.transaction():
        await holder.execute(_NO_RECOVERY)
        await link.copy(documents[0], 1)
        await link.merge(documents[1], 1, has_keys=False)
        await link.sift(documents[2], 1, has_keys=False)
        rows = await fetch(citus_url, "SELECT xact FROM events WHERE event_name = 'told'")
        told = await fetch(citus_url, "SELECT xmin::text::bigint AS xact FROM pg_dist_transaction")
    await holder.close()
    await link.close()
    assert len(rows) == 3
    assert {row["xact"] for row in rows} <= {row["xact"] for row in told}


async def _commit_half(url: str, node: Node, app: App, event_id: UUID) -> int:
    """Leave a transaction as a crash does behind the coordinator's commit; return its number."""
    connection = await asyncpg.connect(url, timeout=10)
    async with connection.transaction():
        xact = int(await connection.fetchval("SELECT txid_current()"))
        row = await connection.fetchrow(
            "SELECT get_shard_id_for_distribution_column('events', $1::int) AS shard,"
            " (SELECT groupid FROM pg_dist_node WHERE nodeport = $2) AS node_group",
            app.id,
            node.port,
        )
        assert row is not None
        await _prepare(node.url(_name(url)), row["shard"], app, event_id, xact)
        await connection.execute(
            "INSERT INTO pg_dist_transaction (groupid, gid) VALUES ($1, $2)",
            row["node_group"],
            GID,
        )
    await connection.close()
    return xact


async def _prepare(url: str, shard: int, app: App, event_id: UUID, xact: int) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    await connection.execute("SET citus.enable_manual_changes_to_shards = on")
    await connection.execute("BEGIN")
    await connection.execute(
        f"INSERT INTO events_{shard} (app_id, id, event_name, event_params, created_at, xact)"
        f" VALUES ({app.id}, '{event_id}', 'test', '{{}}', now(), {xact})"
    )
    await connection.execute(f"PREPARE TRANSACTION '{GID}'")
    await connection.close()


def _name(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]
