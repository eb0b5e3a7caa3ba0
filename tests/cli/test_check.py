"""`nonito check`: a line for each thing that serving needs."""

import asyncio
import re

import pytest

from tests.conftest import make_key
from tests.store.events import alter_database
from tests.support.command import Nonito, succeed
from tests.support.postgres import fetch


def test_check_finds_nothing_wrong_with_a_database_that_was_served(
    nonito: Nonito, database_url: str
) -> None:
    """Every line says ok, and there is a line for each thing that serving needs."""
    make_key(database_url)
    lines = succeed(nonito("--database-url", database_url, "check")).splitlines()
    assert [line for line in lines if not line.startswith("ok    ")] == []
    assert len(lines) >= 9


CHECKS = {
    "durability": ("SET synchronous_commit TO off", "synchronous_commit is off"),
    "read-only": ("SET default_transaction_read_only TO on", "read-only"),
}


@pytest.mark.parametrize(("setting", "told"), CHECKS.values(), ids=CHECKS)
def test_check_finds_settings_that_lose_or_refuse_events(
    nonito: Nonito, own_url: str, setting: str, told: str
) -> None:
    """Exactly that is wrong, and the exit code is 1."""
    make_key(own_url)
    asyncio.run(alter_database(own_url, setting))
    ended = nonito("--database-url", own_url, "check")
    wrong = [line for line in ended.stdout.splitlines() if line.startswith("WRONG ")]
    assert ended.returncode == 1
    assert len(wrong) == 1
    assert told in wrong[0]


def test_check_finds_missing_partitions_keys_and_permissions(nonito: Nonito, own_url: str) -> None:
    """All of them at once."""
    drop = (
        "DO $$ DECLARE part text; BEGIN FOR part IN SELECT inhrelid::regclass FROM pg_inherits"
        " WHERE inhparent = 'events'::regclass AND inhrelid <> 'events_default'::regclass"
        " LOOP EXECUTE 'DROP TABLE ' || part; END LOOP; END $$"
    )
    asyncio.run(fetch(own_url, drop))
    asyncio.run(alter_database(own_url, "SET role TO pg_read_all_data"))
    ended = nonito("--database-url", own_url, "check")
    assert ended.returncode == 1
    for told in ("no partition of events holds today", "can't store events: .*42501", "no API key"):
        assert re.search(f"^WRONG .*{told}", ended.stdout, re.MULTILINE)


OBSTACLES = {
    "row-level security": (
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY; ALTER TABLE events FORCE ROW LEVEL SECURITY",
        "row-level security",
    ),
    "no rights on rejected events": ("REVOKE INSERT ON rejected_events FROM test_role", "42501"),
    "no temporary tables": ("REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC, test_role", "42501"),
    "renamed column": ("ALTER TABLE events RENAME COLUMN event_name TO named", "42703"),
}


@pytest.mark.parametrize(("obstacle", "told"), OBSTACLES.values(), ids=OBSTACLES)
def test_check_tries_all_that_storing_takes(
    nonito: Nonito, own_url: str, obstacle: str, told: str
) -> None:
    """As the role that serves; and leaves nothing behind."""
    make_key(own_url)
    ((name,),) = asyncio.run(fetch(own_url, "SELECT current_database()"))
    role = (
        "DO $$ BEGIN CREATE ROLE test_role; EXCEPTION WHEN duplicate_object THEN END $$;"
        " GRANT ALL ON ALL TABLES IN SCHEMA public TO test_role;"
        f" GRANT TEMPORARY ON DATABASE {name} TO test_role"
    )
    for statement in (role, obstacle.format(name=name)):
        asyncio.run(fetch(own_url, f"DO $do$ BEGIN EXECUTE $script${statement}$script$; END $do$"))
    asyncio.run(alter_database(own_url, "SET role TO test_role"))
    ended = nonito("--database-url", own_url, "check")
    wrong = [line for line in ended.stdout.splitlines() if line.startswith("WRONG ")]
    assert ended.returncode == 1
    assert len(wrong) == 1
    assert told in wrong[0]


def test_check_tells_of_events_that_were_rejected_just_now(nonito: Nonito, own_url: str) -> None:
    """With what refused them; an hour later it is no alarm any more."""
    make_key(own_url)
    insert = (
        "INSERT INTO rejected_events (app_id, id, event_name, event_params, created_at, sqlstate,"
        " message, on_table, broken_constraint)"
        " VALUES (1, gen_random_uuid(), 'a', '{}', now(), '23514', 'no', 'events', 'too_small')"
    )
    asyncio.run(fetch(own_url, insert))
    ended = nonito("--database-url", own_url, "check")
    assert ended.returncode == 1
    assert re.search("WRONG 1 rejected events.*23514.*constraint too_small", ended.stdout)
    asyncio.run(fetch(own_url, "UPDATE rejected_events SET rejected_at = now() - interval '1 h'"))
    assert "ok    1 rejected events" in succeed(nonito("--database-url", own_url, "check"))
