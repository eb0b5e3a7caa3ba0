"""Idempotency keys: there from the version on that has them, and forgotten after a day."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from ingest.delivery.events_table import EVENTS
from ingest.store import idempotency, migrations, rejected
from ingest.store.database_url import DatabaseUrl
from ingest.store.idempotency import KEPT
from tests.store.events import changed, make_link, make_rejected, until, until_true
from tests.store.merging import NOON, make, run, stored
from tests.store.strays import holding
from tests.support.postgres import fetch, make_postgres

KNOWN = migrations.known()
KEYS = """
    INSERT INTO idempotency_keys (app_id, key, event_id, created_at, kept_since)
    SELECT $2, gen_random_uuid(), gen_random_uuid(), now() - $1::interval, now() - $1::interval
    FROM generate_series(1, $3::int)
"""
# Notes how many keys each transaction deletes.
SEEING = [
    "CREATE TABLE seen (keys int, transaction xid8)",
    """
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO seen SELECT count(*), pg_current_xact_id() FROM gone; RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER see AFTER DELETE ON idempotency_keys REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION see()
    """,
]
APPS = "SELECT app_id, count(*) AS keys FROM idempotency_keys GROUP BY app_id ORDER BY app_id"
OLD, YOUNG = KEPT + timedelta(seconds=1), KEPT - timedelta(minutes=5)


async def add(url: str, age: timedelta, app_id: int, count: int = 1) -> None:
    """Put keys of an age there."""
    await fetch(url, KEYS, age, app_id, count)


async def keys_of_apps(url: str) -> dict[int, int]:
    """Return how many keys each app has."""
    return {row["app_id"]: row["keys"] for row in await fetch(url, APPS)}


async def test_keys_are_kept_for_a_day(own_url: str) -> None:
    """And deleted after it, however old they are, those of every app."""
    assert timedelta(hours=24) == KEPT
    for app_id, age in enumerate((timedelta(0), YOUNG, OLD, timedelta(days=4000))):
        await add(own_url, age, app_id)
    assert await idempotency.forget_old(make_postgres(own_url)) == 2
    assert await keys_of_apps(own_url) == {0: 1, 1: 1}
    assert await idempotency.forget_old(make_postgres(own_url)) == 0


@pytest.mark.not_on_citus("Citus has no triggers on distributed tables")
async def test_many_keys_are_deleted_in_short_transactions(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many a time and no more; the next time goes on, also with those of one moment."""
    monkeypatch.setattr(idempotency, "_CHUNK_KEYS", 100)
    monkeypatch.setattr(idempotency, "_CHUNKS_MAX", 3)
    await add(own_url, OLD, 1, 150)
    await add(own_url, OLD + timedelta(days=1), 2, 200)
    for statement in SEEING:
        await fetch(own_url, statement)
    assert await idempotency.forget_old(make_postgres(own_url)) == 300
    assert await keys_of_apps(own_url) == {1: 50}
    assert await idempotency.forget_old(make_postgres(own_url)) == 50
    seen = await fetch(own_url, "SELECT sum(keys) FROM seen GROUP BY transaction ORDER BY 1")
    assert [row[0] for row in seen] == [0, 50, 100, 100, 100]


async def test_servers_that_forget_at_once_do_not_wait_for_each_other(own_url: str) -> None:
    """Each key is deleted by one of them."""
    await add(own_url, OLD, 1, 20_000)
    forgotten = await asyncio.gather(
        *(idempotency.forget_old(make_postgres(own_url)) for _ in range(3))
    )
    left = (await keys_of_apps(own_url)).get(1, 0)
    assert sum(forgotten) + left == 20_000
    await idempotency.forget_old(make_postgres(own_url))
    assert await keys_of_apps(own_url) == {}


async def test_key_that_is_being_renewed_is_left(own_url: str) -> None:
    """A merge has it: nobody waits, and it is young afterwards."""
    await add(own_url, OLD, 1)
    await add(own_url, OLD, 2)
    renewal = "UPDATE idempotency_keys SET created_at = now() WHERE app_id = 1"
    async with holding(own_url, renewal):
        assert await idempotency.forget_old(make_postgres(own_url)) == 1
    assert await idempotency.forget_old(make_postgres(own_url)) == 0
    assert await keys_of_apps(own_url) == {1: 1}


async def test_key_that_was_written_late_is_kept_for_a_day_from_then_on(own_url: str) -> None:
    """Its event waited in one spool for days, a retry still waits in another."""
    postgres = make_postgres(own_url)
    link, key = make_link(postgres), uuid4()
    await run(link, make("first", key=key))
    assert await idempotency.forget_old(postgres) == 0
    await run(link, make("retry", key=key, created_at=NOON + timedelta(minutes=1)))
    await link.close()
    assert list((await stored(own_url)).values()) == ["first"]
    await fetch(
        own_url,
        "UPDATE idempotency_keys SET kept_since ="
        " (kept_since AT TIME ZONE 'UTC' - $1::interval) AT TIME ZONE 'UTC'",
        OLD,
    )
    assert await idempotency.forget_old(postgres) == 1


async def test_key_of_a_rejected_event_is_kept(own_url: str) -> None:
    """Until that is stored or dropped; not those of another app, nor other keys."""
    postgres = make_postgres(own_url)
    for app_id in (1, 1, 2):
        await add(own_url, OLD, app_id)
    ((key,), _) = await fetch(own_url, "SELECT key FROM idempotency_keys WHERE app_id = 1")
    await fetch(own_url, "UPDATE idempotency_keys SET key = $1 WHERE app_id = 2", key)
    event = changed(make_rejected(), idempotency_key=str(key))
    async with postgres.session() as connection:
        await rejected.add(connection, EVENTS, [event])
        assert await idempotency.forget_old(postgres) == 2
        assert await keys_of_apps(own_url) == {1: 1}
        await rejected.drop(connection, [event.id])
    assert await idempotency.forget_old(postgres) == 1


async def test_old_keys_are_found_by_their_time(own_url: str) -> None:
    """Of a full table only what is deleted is read."""
    await add(own_url, YOUNG, 1, 20_000)
    await fetch(own_url, "ANALYZE idempotency_keys")
    plan = await fetch(
        own_url,
        "EXPLAIN SELECT ctid FROM idempotency_keys WHERE kept_since < now() - interval '1 day'"
        " ORDER BY kept_since LIMIT 5000",
    )
    assert any("idempotency_keys_kept_since" in row[0] for row in plan)


async def test_outage_only_delays_the_watch(own_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and goes on once Postgres is back."""
    monkeypatch.setattr(idempotency, "_INTERVAL_S", 0.01)
    postgres = make_postgres("postgresql://nobody@127.0.0.1:1/none")
    await add(own_url, OLD, 1)
    with capture_logs() as logs:
        watching = asyncio.create_task(idempotency.run(postgres))
        await until(lambda: len(logs) >= 2)
        monkeypatch.setattr(postgres, "_url", DatabaseUrl(own_url))
        await until_true(own_url, "SELECT count(*) = 0 FROM idempotency_keys")
        watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.not_on_citus("its tables are distributed once they are this version's")
async def test_database_of_the_version_before_is_migrated_with_its_data(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events and rejected events stay, without what nobody sent of them."""
    postgres = make_postgres(empty_url)
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "known", lambda: KNOWN[:2])
        await migrations.migrate(postgres)
    columns = "app_id, id, event_name, event_params, created_at"
    values = "1, gen_random_uuid(), 'a', '{\"n\": 1e2}', now()"
    await fetch(empty_url, f"INSERT INTO events ({columns}) VALUES ({values})")
    await fetch(
        empty_url,
        f"INSERT INTO rejected_events ({columns}, sqlstate, message) VALUES ({values}, '0', '')",
    )
    before = [await rows_of(empty_url, table, columns) for table in ("events", "rejected_events")]
    await migrations.migrate(postgres)
    after = [await rows_of(empty_url, table, columns) for table in ("events", "rejected_events")]
    assert after == before
    for table in ("events", "rejected_events"):
        assert await rows_of(empty_url, table, '"timestamp", idempotency_key') == [(None, None)]
    assert await fetch(empty_url, "TABLE idempotency_keys") == []


async def rows_of(url: str, table: str, columns: str) -> list[tuple[Any, ...]]:
    """Return some columns of every row."""
    return [tuple(row) for row in await fetch(url, f"SELECT {columns} FROM {table}")]
