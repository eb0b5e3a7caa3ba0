"""The keys in memory follow the database within a second, and outlive its outages."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from ingest.share.generation import OwnGeneration
from ingest.store import api_keys
from ingest.store import keyring as module
from ingest.store.api_key_snapshot import ApiKeySnapshot
from ingest.store.apps import App
from ingest.store.cluster import Cluster
from ingest.store.key_limits import KeyLimits
from ingest.store.keyring import Grant, Keyring
from ingest.store.postgres import Postgres
from tests.conftest import make_key
from tests.store.events import terminate_backends, until, until_true
from tests.support.postgres import fetch, make_postgres
from tests.support.server import Server, wait_for

NEVER_S = 3600.0
"""A poll that far away proves that the notification did it."""


@asynccontextmanager
async def watched(
    postgres: Postgres, poll_interval_s: float = NEVER_S, generation: OwnGeneration | None = None
) -> AsyncIterator[Keyring]:
    """Yield the keys of a database while it is followed."""
    keyring = Keyring(postgres, poll_interval_s=poll_interval_s, generation=generation)
    await keyring.load()
    watching = asyncio.create_task(keyring.run())
    try:
        await listening(postgres._url.for_asyncpg)
        yield keyring
        assert not watching.done(), "watching ended"
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def listening(url: str) -> None:
    """Wait until a session listens for keys and has nothing more to do."""
    await until_true(
        url,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'idle' AND query = 'SELECT id FROM nonito_database')",
    )


async def create(postgres: Postgres, app: str = "shop") -> str:
    """Make a key."""
    async with postgres.session() as connection:
        return await api_keys.create(connection, app, "", None)


@pytest.mark.parametrize("turns", range(6))
async def test_stop_that_comes_with_a_change_ends_it(postgres: Postgres, turns: int) -> None:
    """However many turns of the loop lie between the two; a lost connection is a change as well."""
    keyring = Keyring(postgres, poll_interval_s=NEVER_S)
    following = asyncio.create_task(keyring.run())
    await listening(postgres._url.for_asyncpg)
    await asyncio.sleep(0.05)  # what it asked for has come
    keyring._changed.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    following.cancel()
    done, _ = await asyncio.wait([following], timeout=5)
    assert done
    assert following.cancelled()


async def test_created_key_is_known_within_a_second(postgres: Postgres, database_url: str) -> None:
    """And belongs to its app; no other secret belongs to anybody."""
    async with watched(postgres) as keyring:
        shop, blog = await create(postgres, "shop"), await create(postgres, "blog")
        await until(lambda: len(keyring) == 2, 1.0)
        rows = await fetch(database_url, "SELECT id, name FROM apps")
        ids = {row["name"]: row["id"] for row in rows}
        assert keyring.plain_grant_of(shop) == Grant(App(ids["shop"], "shop"), None)
        assert keyring.plain_grant_of(blog) == Grant(App(ids["blog"], "blog"), None)
        for wrong in ("", shop[:-1], shop + "x", shop.swapcase(), shop[:11], "\udcff", "ä"):
            assert keyring.plain_grant_of(wrong) is None


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE api_keys SET revoked_at = now()",
        "UPDATE api_keys SET expires_at = now() - interval '1 minute'",
        "DELETE FROM api_keys",
        "TRUNCATE api_keys",
    ],
)
async def test_key_taken_away_by_hand_is_refused_within_a_second(
    postgres: Postgres, database_url: str, sql: str
) -> None:
    """Whoever changes the table, and in whichever way."""
    secret = await create(postgres)
    async with watched(postgres) as keyring:
        assert keyring.plain_grant_of(secret) is not None
        await fetch(database_url, sql)
        await until(lambda: keyring.plain_grant_of(secret) is None, 1.0)


async def test_key_revoked_by_command_is_refused_within_a_second(postgres: Postgres) -> None:
    """The other key of the app goes on working."""
    kept, lost = await create(postgres), await create(postgres)
    async with watched(postgres) as keyring:
        async with postgres.session() as connection:
            await api_keys.revoke(connection, lost)
        await until(lambda: keyring.plain_grant_of(lost) is None, 1.0)
        assert keyring.plain_grant_of(kept) is not None


async def test_changes_are_seen_after_the_listening_session_was_ended(
    postgres: Postgres, database_url: str
) -> None:
    """A change right after it, before anybody listens again, is seen as well."""
    lost = await create(postgres)
    async with watched(postgres) as keyring:
        for _ in range(3):
            await terminate_backends(database_url)
            made = await create(postgres)
            await until(partial(knows, keyring, made), 1.0)
        await terminate_backends(database_url)
        await fetch(database_url, f"DELETE FROM api_keys WHERE prefix = '{lost[:11]}'")
        await until(lambda: keyring.plain_grant_of(lost) is None, 1.0)


async def test_poll_finds_a_change_that_nobody_was_told_of(
    own_url: str,
) -> None:
    """With the trigger switched off."""
    postgres = make_postgres(own_url)
    async with watched(postgres, poll_interval_s=0.1) as keyring:
        await fetch(own_url, "ALTER TABLE api_keys DISABLE TRIGGER api_keys_changed")
        made = await create(postgres)
        await until(lambda: keyring.plain_grant_of(made) is not None)


def knows(keyring: Keyring, secret: str) -> bool:
    """Return whether a key belongs to an app."""
    return keyring.plain_grant_of(secret) is not None


async def expire_in(url: str, seconds: float) -> None:
    """Let all keys expire in a while."""
    await fetch(url, f"UPDATE api_keys SET expires_at = now() + interval '{seconds} seconds'")


async def test_key_is_refused_once_it_expires(postgres: Postgres, database_url: str) -> None:
    """Good before its time and refused within a second after it, without any poll."""
    secret = await create(postgres)
    await expire_in(database_url, 1.5)
    async with watched(postgres) as keyring:
        await asyncio.sleep(0.5)
        assert keyring.plain_grant_of(secret) is not None
        await until(lambda: keyring.plain_grant_of(secret) is None, 2.0)


async def test_clock_ahead_of_the_database_does_not_make_it_ask_without_a_pause(
    postgres: Postgres, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that has expired by our clock and not by the database's."""
    await create(postgres)
    await expire_in(database_url, 60)
    (now,) = await fetch(database_url, "SELECT extract(epoch FROM now())::float8 AS s")
    monkeypatch.setattr("ingest.store.keyring.time", SimpleNamespace(time=lambda: now["s"] + 120))
    reads = []
    read = Keyring._read

    async def count(self: Keyring, *arguments: object) -> None:
        reads.append(self)
        await read(self, *arguments)  # type: ignore[arg-type] # handed on as they came

    monkeypatch.setattr(Keyring, "_read", count)
    async with watched(postgres):
        await asyncio.sleep(0.5)
    assert len(reads) < 20


async def test_keys_go_on_working_while_postgres_is_stopped(
    own_cluster: Cluster, harmed_url: str
) -> None:
    """Known keys are good during the outage, and changes are followed again after it."""
    postgres = make_postgres(harmed_url)
    known = await create(postgres)
    async with watched(postgres) as keyring:
        await asyncio.to_thread(own_cluster.stop)
        for _ in range(20):
            assert keyring.plain_grant_of(known) is not None
            await asyncio.sleep(0.02)
        await asyncio.to_thread(own_cluster.start)
        assert keyring.plain_grant_of(known) is not None
        made = await create(postgres)
        await until(lambda: keyring.plain_grant_of(made) is not None, 3.0)
        await fetch(harmed_url, "DELETE FROM api_keys")
        await until(lambda: keyring.plain_grant_of(known) is None, 1.0)


async def test_key_expires_during_an_outage_too(own_cluster: Cluster, harmed_url: str) -> None:
    """What ends a key is its own time, not a database that has to say so."""
    postgres = make_postgres(harmed_url)
    secret = await create(postgres)
    await expire_in(harmed_url, 2)
    async with watched(postgres) as keyring:
        assert keyring.plain_grant_of(secret) is not None
        await asyncio.to_thread(own_cluster.stop)
        await until(lambda: keyring.plain_grant_of(secret) is None)


@asynccontextmanager
async def told(postgres: Postgres, generation: OwnGeneration) -> AsyncIterator[Keyring]:
    """Yield the keys of a process that does not listen, but is told by one that does."""
    keyring = Keyring(postgres, poll_interval_s=NEVER_S, generation=generation)
    await keyring.load()
    following = asyncio.create_task(keyring.follow())
    try:
        yield keyring
        assert not following.done(), "following ended"
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_process_that_is_told_follows_within_a_second(
    postgres: Postgres, database_url: str
) -> None:
    """What the one that listens has read; and it has no connection of its own meanwhile."""
    generation, others = OwnGeneration(), make_postgres(database_url)
    async with watched(postgres, generation=generation), told(others, generation) as keyring:
        for _ in range(2):
            made = await create(postgres)
            await until(partial(knows, keyring, made), 1.0)
            await fetch(database_url, f"DELETE FROM api_keys WHERE prefix = '{made[:11]}'")
            await until(lambda: not knows(keyring, made), 1.0)  # noqa: B023 - at once
        assert others.open_connections == 0


async def test_first_that_the_next_one_to_listen_does_is_to_tell(
    postgres: Postgres, database_url: str
) -> None:
    """Also when it has known before what nobody told the others."""
    generation = OwnGeneration()
    async with told(make_postgres(database_url), generation) as keyring:
        made = await create(postgres)
        await asyncio.sleep(0.5)
        assert not knows(keyring, made)
        async with watched(postgres, generation=generation):  # which loads them first
            await until(partial(knows, keyring, made), 1.0)


async def test_process_that_can_not_read_what_it_is_told_of_tries_again(
    own_cluster: Cluster, harmed_url: str
) -> None:
    """Until it can: nobody tells it twice."""
    generation = OwnGeneration()
    async with told(make_postgres(harmed_url), generation) as keyring:
        made = await create(make_postgres(harmed_url))
        await asyncio.to_thread(own_cluster.stop)
        generation.advance()
        await asyncio.sleep(0.7)
        await asyncio.to_thread(own_cluster.start)
        await until(partial(knows, keyring, made))


def test_running_server_follows_keys_within_a_second(server: Server, database_url: str) -> None:
    """A created key is accepted, a revoked one refused, the server's first one goes on working."""
    made = make_key(database_url)

    def status() -> int:
        return server.post({"event_name": "test"}, **{"X-API-Key": made}).status_code

    wait_for(lambda: status() == 200, timeout_s=1.0)
    revoke = f"UPDATE api_keys SET revoked_at = now() WHERE prefix = '{made[:11]}'"
    asyncio.run(fetch(database_url, revoke))
    wait_for(lambda: status() == 401, timeout_s=1.0)
    assert server.post({"event_name": "test"}).status_code == 200


async def test_key_opens_no_more_than_its_limits_from_its_first_moment(
    postgres: Postgres, database_url: str
) -> None:
    """And another one when they are changed by hand."""
    limits = KeyLimits(("https://shop.example",), ("a", "b,c"))
    async with watched(postgres) as keyring:
        async with postgres.session() as connection:
            secret = await api_keys.create(connection, "shop", "", None, limits=limits)
        await until(lambda: len(keyring) == 1, 1.0)
        grant = keyring.grant_of(secret)
        assert grant is not None
        assert (grant.app.name, grant.limits) == ("shop", limits)
        assert keyring.plain_grant_of(secret) is None
        await fetch(database_url, "UPDATE api_keys SET origins = '{}', event_names = '{}'")
        await until(lambda: keyring.plain_grant_of(secret) == Grant(grant.app, None), 1.0)


async def test_keys_kept_on_a_disk_that_hangs_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start goes on, and Postgres may be there by then."""
    goes_on = threading.Event()
    snapshot = ApiKeySnapshot(tmp_path)
    monkeypatch.setattr(snapshot, "read", goes_on.wait)
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.01)
    postgres = make_postgres("postgresql://localhost/away")
    keyring = Keyring(postgres, poll_interval_s=NEVER_S, snapshot=snapshot)
    try:
        assert not await keyring.recall()
    finally:
        goes_on.set()
