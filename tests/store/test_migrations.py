"""The schema: made on a fresh database, never twice, never by half, never downgraded."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import asyncpg
import pytest

from ingest.errors import StartupError
from ingest.store import migrations
from ingest.store.cluster import Cluster
from ingest.store.migrations import Migration
from tests.conftest import make_key
from tests.store.events import assert_works, make_event, make_link, until_true
from tests.support.postgres import fetch, make_postgres
from tests.support.server import Server, running_server

KNOWN = migrations.known()
OBJECTS = """
    SELECT 'table' AS kind, relname AS name, relkind::text AS what FROM pg_class
    WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'column', table_name || '.' || column_name, data_type
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'function', proname, prosrc FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1, 2, 3
"""


async def objects(url: str) -> list[tuple[Any, ...]]:
    """Return every table, index, column and function of a database."""
    return [tuple(row) for row in await fetch(url, OBJECTS)]


async def journal(url: str) -> list[tuple[Any, ...]]:
    """Return what a database knows of its migrations, times included."""
    return [tuple(row) for row in await fetch(url, "TABLE nonito_migrations")]


async def test_fresh_database_gets_the_schema(empty_url: str) -> None:
    """Every migration is applied and noted, and an event can be stored."""
    assert await objects(empty_url) == []
    await migrations.migrate(make_postgres(empty_url))
    noted = [(version, name) for version, name, _ in await journal(empty_url)]
    assert noted == [(known.version, known.name) for known in KNOWN]
    assert {"apps", "api_keys", "events", "events_default", "rejected_events"} <= {
        name for kind, name, _ in await objects(empty_url) if kind == "table"
    }
    link = make_link(make_postgres(empty_url))
    await assert_works(link, empty_url)
    await link.close()


async def test_migrating_again_changes_nothing(own_url: str) -> None:
    """Not even the times at which migrations were applied."""
    before = await objects(own_url), await journal(own_url)
    await migrations.migrate(make_postgres(own_url))
    assert (await objects(own_url), await journal(own_url)) == before


def test_servers_started_at_once_on_an_empty_database_both_serve(empty_url: str) -> None:
    """One of them migrates and makes the partitions; the other waits, and finds them."""
    with ExitStack() as stack, ThreadPoolExecutor() as threads:

        def start() -> Server:
            return stack.enter_context(running_server(("--database-url", empty_url), key=""))

        servers = [future.result() for future in [threads.submit(start) for _ in range(3)]]
        key = make_key(empty_url)
        restarted = stack.enter_context(running_server(("--database-url", empty_url), key))
        assert restarted.post({"event_name": "after"}).status_code == 200
        assert {server.get("/readyz").status_code for server in servers} == {200}


async def test_who_had_to_wait_finds_what_the_other_made(empty_url: str) -> None:
    """Both have looked before it was made; only one of them makes it."""
    waiting = (
        "SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    holder = await asyncpg.connect(empty_url, timeout=10)
    await holder.execute("SELECT pg_advisory_lock($1)", migrations._LOCK)
    both = [asyncio.create_task(migrations.migrate(make_postgres(empty_url))) for _ in range(2)]
    await until_true(empty_url, waiting)
    await holder.close()
    await asyncio.gather(*both)
    assert len(await journal(empty_url)) == len(KNOWN)


async def test_database_newer_than_the_server_is_refused(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names both versions; nothing is changed."""
    await fetch(own_url, "INSERT INTO nonito_migrations VALUES (999, 'of the future')")
    before = await objects(own_url)
    later = Migration(96, "due", "CREATE TABLE due ()")
    monkeypatch.setattr(migrations, "known", lambda: [*KNOWN, later])
    with pytest.raises(StartupError) as refused:
        await migrations.migrate(make_postgres(own_url))
    message = str(refused.value)
    assert "999" in message
    assert "newer version of nonito" in message
    assert "\n" not in message
    assert await objects(own_url) == before


@pytest.mark.parametrize(
    "failing", ["SELECT 1/0", "SELECT '{'::jsonb", "SELEC", "INSERT INTO nowhere VALUES (1)"]
)
async def test_failing_migration_leaves_nothing_behind(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Neither its own tables nor those of the migrations before it; the error names it."""
    bad = Migration(98, "broken", f"CREATE TABLE half (); {failing}")
    monkeypatch.setattr(migrations, "known", lambda: [*KNOWN, bad])
    with pytest.raises(StartupError, match=r"migration 98 \(broken\)"):
        await migrations.migrate(make_postgres(empty_url))
    assert await objects(empty_url) == []
    monkeypatch.undo()
    await migrations.migrate(make_postgres(empty_url))
    assert len(await journal(empty_url)) == len(KNOWN)


async def test_only_what_is_due_is_applied(own_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version's migration is applied to the tables that are there."""
    before = await journal(own_url)
    later = Migration(97, "more", "ALTER TABLE apps ADD more int")
    monkeypatch.setattr(migrations, "known", lambda: [*KNOWN, later])
    await migrations.migrate(make_postgres(own_url))
    after = await journal(own_url)
    assert after[:-1] == before
    assert after[-1][:2] == (97, "more")


async def test_database_with_events_is_brought_from_the_first_version_to_this_one(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds stays as it is, and events can be stored and rejected after that."""
    postgres = make_postgres(empty_url)
    monkeypatch.setattr(migrations, "known", lambda: KNOWN[:1])
    await migrations.migrate(postgres)
    link = make_link(postgres)
    old = "app_id, id, event_name, event_params, created_at"
    insert = f"INSERT INTO events ({old}) VALUES (1, $1, 'old', '{{\"n\": 1e2}}', now())"
    for _ in range(100):
        await fetch(empty_url, insert, make_event().id)
    before = await fetch(empty_url, f"SELECT {old} FROM events ORDER BY id")
    assert "rejected_events" not in {name for _, name, _ in await objects(empty_url)}
    monkeypatch.undo()
    await migrations.migrate(postgres)
    assert [version for version, _, _ in await journal(empty_url)] == [
        known.version for known in KNOWN
    ]
    assert await fetch(empty_url, f"SELECT {old} FROM events ORDER BY id") == before
    assert await fetch(empty_url, "TABLE rejected_events") == []
    await assert_works(link, empty_url)
    await link.close()


def test_migrations_are_numbered_without_gaps() -> None:
    """Two branches that add the same number are found out here."""
    assert [known.version for known in KNOWN] == list(range(1, len(KNOWN) + 1))


def test_database_of_another_encoding_is_refused(cluster: Cluster) -> None:
    """In LATIN1 not every event could be stored."""
    cluster.execute("DROP DATABASE IF EXISTS latin")
    cluster.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StartupError, match="LATIN1"):
        asyncio.run(migrations.migrate(make_postgres(cluster.url("latin"))))
