"""Read keys at rest: they open one app's events for reading, and no door for writing."""

import re

import pytest

from ingest.store import api_keys, app_settings, read_keys, tokens
from ingest.store.api_keys import Kind
from ingest.store.app_settings import AppSettings
from ingest.store.keyring import Keyring
from ingest.store.postgres import Postgres
from tests.support.postgres import fetch


async def create(postgres: Postgres, app: str = "shop", days: int | None = None) -> str:
    """Make a read key."""
    async with postgres.session() as connection:
        return await api_keys.create(connection, app, "label", days, Kind.READ)


async def find(postgres: Postgres, secret: str) -> AppSettings | None:
    """Return whose events a secret opens."""
    async with postgres.session() as connection:
        return await read_keys.find(connection, secret)


async def test_read_key_opens_its_app_with_what_questions_go_by(postgres: Postgres) -> None:
    """By the user field and the zone of this moment."""
    shop, blog = await create(postgres, "shop"), await create(postgres, "blog")
    assert re.fullmatch(r"nr_[A-Za-z0-9]{43}", shop)
    found = await find(postgres, shop)
    assert found is not None
    assert found[1:4] == ("shop", "user_id", "UTC")
    async with postgres.session() as connection:
        await app_settings.change(connection, "shop", "email", "Europe/Berlin")
    found = await find(postgres, shop)
    assert found is not None
    assert found[1:4] == ("shop", "email", "Europe/Berlin")
    other = await find(postgres, blog)
    assert other is not None
    assert other[1:4] == ("blog", "user_id", "UTC")
    assert other.id != found.id


async def test_key_that_writes_never_reads_and_the_other_way_round(postgres: Postgres) -> None:
    """Each is unknown where the other one is looked up."""
    reading = await create(postgres)
    async with postgres.session() as connection:
        writing = await api_keys.create(connection, "shop", "", None)
    keyring = Keyring(postgres, poll_interval_s=3600.0)
    await keyring.load()
    assert (keyring.plain_grant_of(reading), await find(postgres, writing)) == (None, None)
    assert keyring.plain_grant_of(writing) is not None
    assert await find(postgres, reading) is not None


async def test_revoked_key_reads_no_more(postgres: Postgres) -> None:
    """By its prefix, as any other; its neighbour reads on."""
    kept, lost = await create(postgres), await create(postgres)
    async with postgres.session() as connection:
        (revoked,) = await api_keys.revoke(connection, lost[:11])
    assert (revoked.kind, revoked.prefix) == (Kind.READ, lost[:11])
    assert await find(postgres, lost) is None
    assert await find(postgres, kept) is not None


async def test_expired_key_reads_no_more(postgres: Postgres, database_url: str) -> None:
    """From the moment on that it was made for."""
    secret = await create(postgres, days=1)
    assert await find(postgres, secret) is not None
    await fetch(database_url, "UPDATE read_keys SET expires_at = now()")
    assert await find(postgres, secret) is None


@pytest.mark.parametrize("secret", ["", "nr_", "nr_" + "x" * 43, "\udcff", "nr_ü", "a\0b"])
async def test_other_text_opens_nothing(postgres: Postgres, secret: str) -> None:
    """Whatever a header may hold."""
    await create(postgres)
    assert await find(postgres, secret) is None


async def test_keys_of_both_kinds_are_listed_together(postgres: Postgres) -> None:
    """By app, then age, with what each may do."""
    made = {"read": await create(postgres, "shop")}
    async with postgres.session() as connection:
        made["write"] = await api_keys.create(connection, "shop", "", None)
        listed = await api_keys.list_all(connection)
    assert [(key.kind.value, key.prefix) for key in listed] == [
        (kind, secret[:11]) for kind, secret in made.items()
    ]


async def test_only_digest_and_prefix_are_stored(postgres: Postgres, database_url: str) -> None:
    """As of the other keys."""
    secret = await create(postgres)
    (row,) = await fetch(database_url, "SELECT * FROM read_keys")
    assert bytes(row["secret_sha256"]) == tokens.digest(secret)
    assert [value for value in row.values() if secret[:12] in str(value)] == []
