"""When a key was used last: seen by the minute, whatever lane its requests take, waking nobody."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from ingest.store import last_uses
from ingest.store.key_limits import KeyLimits
from ingest.store.keyring import Keyring
from ingest.store.last_uses import LastUses
from ingest.store.postgres import Postgres
from ingest.store.tokens import digest
from tests.api.asked import asked_server, make_keys
from tests.conftest import make_key
from tests.http.cases import KEY, post
from tests.http.checks import assert_success
from tests.store.events import until
from tests.support import brisk
from tests.support.postgres import fetch, make_postgres
from tests.support.raw import connected
from tests.support.server import LANES, Server, running_server, wait_for

USED = "SELECT secret_sha256, used_at FROM api_key_uses"


async def uses(url: str) -> dict[bytes, datetime]:
    """Return what is noted, by digest."""
    return {bytes(row["secret_sha256"]): row["used_at"] for row in await fetch(url, USED)}


def used_at(url: str, key: str) -> datetime | None:
    """Return when a key was used, as far as it is noted."""
    return asyncio.run(uses(url)).get(digest(key))


def set_clock(monkeypatch: pytest.MonkeyPatch, now_s: float) -> None:
    """Have what notes uses see this time."""
    monkeypatch.setattr("ingest.store.last_uses.time", SimpleNamespace(time=lambda: now_s))


class Used:
    """Stands for whoever looks keys up."""

    def __init__(self, *keys: bytes) -> None:
        self.keys = set(keys)

    def take(self) -> set[bytes]:
        """Return them, once."""
        taken, self.keys = self.keys, set()
        return taken


async def test_use_is_noted_once_a_minute_however_many_see_it(
    postgres: Postgres, database_url: str
) -> None:
    """The first of some processes that write at once; nothing where nothing was used."""
    await LastUses(postgres, Used().take).write()
    assert await uses(database_url) == {}
    started = datetime.now(UTC)
    many = [bytes([n]) * 32 for n in range(50)]
    await asyncio.gather(*(LastUses(postgres, Used(*many).take).write() for _ in range(8)))
    first = await uses(database_url)
    assert first.keys() == set(many)
    assert all(abs(at - started) < timedelta(seconds=20) for at in first.values())
    await LastUses(postgres, Used(*many).take).write()
    assert await uses(database_url) == first


async def test_use_that_is_older_than_what_is_known_changes_nothing(
    postgres: Postgres, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server that was cut off; and no clock writes the future."""
    key = b"k" * 32
    now_s = time.time()
    for at_s, expected_s in ((now_s - 7200, -7200), (now_s - 3600, -3600), (now_s - 5400, -3600)):
        set_clock(monkeypatch, at_s)
        await LastUses(postgres, Used(key).take).write()
        noted = (await uses(database_url))[key].timestamp()
        assert noted == pytest.approx(now_s + expected_s, abs=1)
    set_clock(monkeypatch, now_s + 86_400)
    await LastUses(postgres, Used(key).take).write()
    assert (await uses(database_url))[key] < datetime.now(UTC) + timedelta(minutes=1)


async def test_use_that_can_not_be_written_is_kept_and_told_once(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And written when that is possible again, with the time that it was."""
    postgres, key, later = make_postgres(own_url), b"k" * 32, b"l" * 32
    used = Used(key)
    noting = LastUses(postgres, used.take)
    await fetch(own_url, "ALTER TABLE api_key_uses RENAME TO elsewhere")
    with monkeypatch.context() as earlier, capture_logs() as logs:
        then_s = time.time() - 600
        set_clock(earlier, then_s)
        await noting.write()
        await noting.write()
    assert [entry["log_level"] for entry in logs] == ["warning"]
    await fetch(own_url, "ALTER TABLE elsewhere RENAME TO api_key_uses")
    used.keys = {later}
    await noting.write()
    found = await uses(own_url)
    assert found[key].timestamp() == pytest.approx(then_s, abs=1)
    assert found[later].timestamp() > then_s + 500


async def test_what_is_kept_is_bounded(
    postgres: Postgres, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are."""
    monkeypatch.setattr(last_uses, "_KEYS_MAX", 3)
    used = Used(*(bytes([n]) * 32 for n in range(9)))
    noting = LastUses(make_postgres("postgresql://127.0.0.1:1/none"), used.take)
    await noting.write()
    used.keys = {b"n" * 32}
    await noting.write()
    assert len(noting._unwritten) == 3
    assert b"n" * 32 in noting._unwritten
    noting._postgres = postgres
    await noting.write()
    assert len(await uses(database_url)) == 3


async def test_keyring_tells_each_used_key_once_and_has_it_looked_up_again(
    postgres: Postgres, database_url: str
) -> None:
    """One with limits, too; no key that is not valid."""
    limits = KeyLimits((), ("a",))
    plain, limited, unused = [
        await asyncio.to_thread(make_key, database_url, "shop", each)
        for each in (None, limits, None)
    ]
    keyring = Keyring(postgres, poll_interval_s=3600.0)
    await keyring.load()
    forgotten: list[int] = []
    keyring.on_change(lambda: forgotten.append(1))
    for _ in range(3):
        assert keyring.plain_grant_of(plain) is not None
        assert keyring.plain_grant_of(limited) is None
        assert keyring.plain_grant_of("nk_none") is None
    assert keyring.take_used() == {digest(plain), digest(limited)}
    assert digest(unused) not in keyring.take_used()
    assert len(forgotten) == 2


@contextmanager
def brisk_server(url: str, key: str, **settings: object) -> Iterator[Server]:
    """Run one that notes uses several times a second."""
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    with running_server(("--database-url", url), key, dotted, brisk.COMMAND) as running:
        yield running


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("workers", [1, 2])
def test_key_in_use_stays_used(database_url: str, lane: str, workers: int) -> None:
    """Though each request's head is the same, on one connection that is never closed."""
    key, unused = make_key(database_url), make_key(database_url)
    request = post().replace(KEY, key.encode())
    with (
        brisk_server(database_url, key, server__fast_lane=lane, server__workers=workers) as server,
        connected(server.port) as client,
    ):
        seen: set[Any] = {None}

        def is_later() -> bool:
            assert_success(client.ask(request))
            at = used_at(database_url, key)
            is_news = at not in seen
            seen.add(at)
            return is_news

        for _ in range(3):
            wait_for(is_later)
        assert used_at(database_url, unused) is None


def test_noting_a_use_wakes_nobody_and_has_no_key_read_anew(database_url: str) -> None:
    """No notification; a change of a key is one, as ever."""
    heard: list[object] = []

    async def listen(key: str) -> None:
        connection = await asyncpg.connect(database_url, timeout=10)
        try:
            await connection.add_listener("nonito_keys", lambda *_: heard.append(1))
            with brisk_server(database_url, key) as server:
                await asyncio.to_thread(server.post, {"event_name": "a"})
                await asyncio.to_thread(wait_for, lambda: used_at(database_url, key))
                assert server.logs().count("API keys loaded") == 1
            await connection.execute("UPDATE api_keys SET name = 'b'")
            await until(lambda: bool(heard), 5)
            assert heard == [1]  # whatever came before it would be there before it
        finally:
            await connection.close()

    asyncio.run(listen(make_key(database_url)))


def test_read_key_is_seen_to_be_used(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the process that answers; one that nobody has asked with is not."""
    unused = make_keys(database_url, "one").read
    monkeypatch.setattr("tests.support.server.COMMAND", brisk.COMMAND)
    with asked_server(database_url, tmp_path) as asked:
        asked.ask("/v1/events")
        wait_for(lambda: used_at(database_url, asked.keys["one"].read))
        assert used_at(database_url, unused) is None
