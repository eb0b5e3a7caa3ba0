"""API keys at rest: what is stored of them, who gets one, and which one a prefix revokes."""

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.store import api_keys
from ingest.store.postgres import Postgres
from tests.support.postgres import fetch


async def create(postgres: Postgres, app: str = "shop", **options: Any) -> str:  # noqa: ANN401 - as create has them
    """Make a key with a name and no expiry."""
    async with postgres.session() as connection:
        return await api_keys.create(
            connection, app, options.get("name", "label"), options.get("expires_in_days")
        )


async def revoke(postgres: Postgres, prefix: str) -> list[api_keys.ApiKey]:
    """Revoke by prefix."""
    async with postgres.session() as connection:
        return await api_keys.revoke(connection, prefix)


async def states(postgres: Postgres) -> dict[str, str]:
    """Return the state of every key by its prefix."""
    async with postgres.session() as connection:
        return {
            key.prefix: key.state(datetime.now(UTC)) for key in await api_keys.list_all(connection)
        }


def test_secret_is_nk_and_256_random_bits() -> None:
    """43 letters and digits hold 256 bits; none of a thousand is like another."""
    secrets = {api_keys.new_secret() for _ in range(1000)}
    assert len(secrets) == 1000
    assert len({secret[: api_keys.PREFIX_CHARS] for secret in secrets}) == 1000
    assert all(re.fullmatch(r"nk_[A-Za-z0-9]{43}", secret) for secret in secrets)


async def test_only_digest_and_prefix_are_stored(postgres: Postgres, database_url: str) -> None:
    """The SHA-256, 11 characters, and no column of any table that holds the secret."""
    secret = await create(postgres)
    (key,) = await fetch(database_url, "SELECT prefix, secret_sha256 FROM api_keys")
    assert key["secret_sha256"] == hashlib.sha256(secret.encode()).digest()
    assert key["prefix"] == secret[:11]
    columns = await fetch(
        database_url,
        "SELECT format('SELECT count(*) AS n FROM %I WHERE strpos(%I::text, $1) > 0',"
        " table_name, column_name) AS query"
        " FROM information_schema.columns WHERE table_schema = 'public'",
    )
    assert len(columns) > 10
    holders = {
        row["query"]: await fetch(database_url, row["query"], secret[:12]) for row in columns
    }
    assert [query for query, (count,) in holders.items() if count["n"]] == []


async def test_app_is_made_with_its_first_key_and_kept_for_the_next(
    postgres: Postgres, database_url: str
) -> None:
    """Two keys of one app, one of another: two apps."""
    for app in ("shop", "shop", "blog"):
        await create(postgres, app)
    rows = await fetch(
        database_url,
        "SELECT apps.name, count(*) AS n FROM apps JOIN api_keys ON app_id = apps.id GROUP BY 1",
    )
    assert {row["name"]: row["n"] for row in rows} == {"shop": 2, "blog": 1}
    (count,) = await fetch(database_url, "SELECT count(*) AS n FROM apps")
    assert count["n"] == 2


async def test_keys_are_listed_with_what_is_known_of_them(postgres: Postgres) -> None:
    """By app, then age: label, prefix, expiry; never the secret."""
    before = datetime.now(UTC)
    second = await create(postgres, "shop", name="later", expires_in_days=30)
    first = await create(postgres, "blog", name="")
    async with postgres.session() as connection:
        blog, shop = await api_keys.list_all(connection)
    assert (blog.app, blog.name, blog.prefix, blog.expires_at) == ("blog", "", first[:11], None)
    assert (shop.app, shop.name, shop.prefix) == ("shop", "later", second[:11])
    assert shop.expires_at is not None
    assert timedelta(days=29.9) < shop.expires_at - before < timedelta(days=30.1)
    assert second not in repr(shop)


@pytest.mark.parametrize("chars", [5, 11, 46])
async def test_exactly_one_key_is_revoked_by_its_prefix(postgres: Postgres, chars: int) -> None:
    """By as much of it as makes it the only one; the whole secret does too."""
    kept, lost = await create(postgres), await create(postgres)
    while kept[:5] == lost[:5]:
        kept = await create(postgres)
    revoked = await revoke(postgres, lost[:chars])
    assert [key.prefix for key in revoked] == [lost[:11]]
    assert await states(postgres) == {kept[:11]: "active", lost[:11]: "revoked"}


async def test_prefix_of_several_keys_revokes_none(postgres: Postgres) -> None:
    """What is ambiguous is told, not guessed."""
    made = [await create(postgres) for _ in range(3)]
    assert len(await revoke(postgres, "nk_")) == 3
    assert await states(postgres) == {secret[:11]: "active" for secret in made}


async def test_prefix_of_no_key_revokes_none(postgres: Postgres) -> None:
    """Characters with a meaning in a LIKE pattern have none here."""
    made = await create(postgres)
    for prefix in ("nk_________", "%", "nk%", made[:10] + "_"):
        assert await revoke(postgres, prefix) == []
    assert await states(postgres) == {made[:11]: "active"}


async def test_revoked_key_is_not_revoked_again(postgres: Postgres, database_url: str) -> None:
    """Its time of revocation stays what it was."""
    made = await create(postgres)
    await revoke(postgres, made[:11])
    query = "SELECT revoked_at FROM api_keys"
    before = await fetch(database_url, query)
    assert await revoke(postgres, made[:11]) == []
    assert await fetch(database_url, query) == before


async def test_first_key_is_made_once_by_servers_that_start_at_once(
    postgres: Postgres, database_url: str
) -> None:
    """One of them gets the secret; there is one app and one key."""

    async def create_first() -> str | None:
        async with postgres.session() as connection:
            return await api_keys.create_first(connection, "default")

    made = await asyncio.gather(*(create_first() for _ in range(5)))
    assert len([secret for secret in made if secret]) == 1
    (count,) = await fetch(
        database_url,
        "SELECT (SELECT count(*) FROM apps) AS apps, (SELECT count(*) FROM api_keys) AS keys",
    )
    assert (count["apps"], count["keys"]) == (1, 1)


async def test_first_key_is_not_made_where_there_is_an_app(postgres: Postgres) -> None:
    """Also when all its keys are revoked: that was somebody's wish."""
    made = await create(postgres, "shop")
    await revoke(postgres, made)
    async with postgres.session() as connection:
        assert await api_keys.create_first(connection, "default") is None
    assert await states(postgres) == {made[:11]: "revoked"}
