"""The schema: made on a fresh database, never twice, never by half, never downgraded."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from ingest.errors import StartupError
from ingest.store import brief, migrations
from ingest.store.cluster import Cluster
from ingest.store.migrations import Migration
from tests.conftest import StartServer, make_key
from tests.store.before import LAST, make_before
from tests.store.events import assert_works, copy, make_event, make_link, until, until_true
from tests.store.strays import holding
from tests.support.postgres import fetch, make_postgres
from tests.support.server import Server, running_server

KNOWN = migrations.known()
READER = "SELECT count(*) FROM events"
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


async def test_reader_holds_up_the_migration_and_no_event(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump, say: events go on beside both, and who it is stands in the log."""
    await make_before(empty_url, monkeypatch)
    monkeypatch.setattr(migrations, "_PAUSE_S", 0.05)
    link = make_link(make_postgres(empty_url, commit_timeout_s=3.0))
    with capture_logs() as logs:
        async with holding(empty_url, READER):
            migrating = asyncio.create_task(migrations.migrate(make_postgres(empty_url), 60.0))
            await until(lambda: any(entry["event"] == "a migration waits" for entry in logs), 20)
            for _ in range(50):
                await copy(link, make_event())
            assert not migrating.done()
            assert (await fetch(empty_url, LAST))[0][0] == 8
        await migrating
    await assert_works(link, empty_url)
    await link.close()
    (waited,) = [entry for entry in logs if entry["event"] == "a migration waits"]
    assert re.fullmatch(
        r"events\S* is in use by process \d+ \(unnamed\) for \d+ s", waited["reason"]
    )
    (row,) = await fetch(empty_url, "SELECT count(*) AS n, count(xact) AS marked FROM events")
    assert (row["n"], row["marked"]) == (51, 1)


async def test_migration_that_is_only_for_reading_is_left_to_later(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server serves without it, and applies it once nobody is in the way."""
    await make_before(empty_url, monkeypatch)
    monkeypatch.setattr(migrations, "_PATIENCE_BEFORE_SERVING_S", 0.0)
    postgres = make_postgres(empty_url)
    with capture_logs() as logs:
        async with holding(empty_url, READER):
            await migrations.migrate_to_serve(postgres)
            with pytest.raises(migrations.Waiting, match="events"):
                await migrations.migrate(postgres, 0.0)
    assert (await fetch(empty_url, LAST))[0][0] == 8
    assert [each["log_level"] for each in logs if "left to later" in each["event"]] == ["warning"]
    await migrations.migrate_to_serve(postgres)
    assert len(await journal(empty_url)) == len(KNOWN)


async def test_migration_that_serving_needs_is_waited_for(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events could not be stored without it."""
    postgres = make_postgres(empty_url)
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "known", lambda: KNOWN[:2])
        await migrations.migrate(postgres)
    monkeypatch.setattr(migrations, "_PATIENCE_BEFORE_SERVING_S", 0.0)
    monkeypatch.setattr(migrations, "_PAUSE_S", 0.05)
    with capture_logs() as logs:
        async with holding(empty_url, READER):
            migrating = asyncio.create_task(migrations.migrate_to_serve(postgres))
            await until(lambda: any(entry["event"] == "a migration waits" for entry in logs), 20)
            assert not migrating.done()
        await migrating
    assert len(await journal(empty_url)) == len(KNOWN)


async def test_work_that_takes_longer_than_others_may_wait_is_done_at_last(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow machine, with thousands of partitions: it gets more time after some tries."""
    slow = Migration(len(KNOWN) + 1, "slow", "SELECT pg_sleep(0.15)")
    monkeypatch.setattr(migrations, "known", lambda: [*KNOWN, slow])
    monkeypatch.setattr(brief, "LIMIT_MS", 100.0)
    monkeypatch.setattr(migrations, "_PAUSE_S", 0.01)
    await migrations.migrate(make_postgres(own_url), 60.0)
    assert (await journal(own_url))[-1][:2] == (slow.version, "slow")


def test_server_starts_beside_a_dump_of_the_version_before(
    empty_url: str, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes events at once, by the schema that it found."""
    asyncio.run(make_before(empty_url, monkeypatch))
    key = make_key(empty_url)

    async def serve() -> tuple[int, int]:
        async with holding(empty_url, f"{READER}; SELECT count(*) FROM apps"):
            server = await asyncio.to_thread(start_server, empty_url, key=key)
            answer = await asyncio.to_thread(server.post, {"event_name": "during"})
            assert "left to later" in server.logs()
            return answer.status_code, (await fetch(empty_url, LAST))[0][0]

    assert asyncio.run(serve()) == (200, migrations.NEEDED_TO_SERVE)


@pytest.mark.parametrize("migration", migrations.known(), ids=str)
def test_migration_is_sent_statement_by_statement(migration: migrations.Migration) -> None:
    """All of it, and no body of a function in two."""
    statements = migrations.statements(migration.sql)
    assert "\n".join(statements).split() == migration.sql.split()
    assert all(each.count("$$") % 2 == 0 for each in statements)
    assert all(each.rstrip().endswith(";") for each in statements)
