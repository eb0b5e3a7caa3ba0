"""API keys at rest: made, listed and revoked. Only their SHA-256 and a short prefix are stored."""

import hashlib
import secrets
import string
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ingest.store.postgres import Connection

_ALPHABET = string.ascii_letters + string.digits
_SECRET_CHARS = 43
KEY_START = "nk_"
PREFIX_CHARS = 11
"""`nk_` and 8 more: enough to tell keys apart, useless for guessing one."""


class ApiKey(NamedTuple):
    """What is known of a key; never the secret."""

    app: str
    name: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """Return `active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active"


def digest(secret: str) -> bytes:
    """Return the SHA-256 that a key is stored and looked up by."""
    # A header may hold any bytes; those that are no UTF-8 come as surrogates and match no key.
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def new_secret() -> str:
    """Return a new key: `nk_` and 43 letters and digits, which is 256 random bits."""
    return KEY_START + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARS))


async def create(connection: Connection, app: str, name: str, expires_in_days: int | None) -> str:
    """Make a key for an app, and the app if it is new; return the secret, which is kept nowhere."""
    secret = new_secret()
    now = datetime.now(UTC)
    expires_at = now + timedelta(days=expires_in_days) if expires_in_days else None
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO apps (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", app
        )
        await connection.execute(
            "INSERT INTO api_keys (app_id, name, prefix, secret_sha256, expires_at)"
            " SELECT id, $2, $3, $4, $5 FROM apps WHERE name = $1",
            app,
            name,
            secret[:PREFIX_CHARS],
            digest(secret),
            expires_at,
        )
    return secret


async def create_first(connection: Connection, app: str) -> str | None:
    """Make an app and its key if there is no app at all; servers that start at once make one."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE apps IN SHARE ROW EXCLUSIVE MODE")
        if await connection.fetchval("SELECT EXISTS (SELECT FROM apps)"):
            return None
        return await create(connection, app, "first", None)


async def list_all(connection: Connection) -> list[ApiKey]:
    """Return all keys, also the revoked ones, by app and age."""
    rows = await connection.fetch(
        "SELECT apps.name AS app, api_keys.name, prefix, api_keys.created_at, expires_at,"
        " revoked_at FROM api_keys JOIN apps ON apps.id = app_id ORDER BY 1, 4"
    )
    return [ApiKey(*row) for row in rows]


async def revoke(connection: Connection, prefix: str) -> list[ApiKey]:
    """Revoke the one unrevoked key whose stored prefix starts so; return what matched.

    Nothing is revoked unless exactly one key matches.
    """
    matching = [
        key
        for key in await list_all(connection)
        if key.revoked_at is None and key.prefix.startswith(prefix[:PREFIX_CHARS])
    ]
    if len(matching) == 1:
        await connection.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE prefix = $1 AND revoked_at IS NULL",
            matching[0].prefix,
        )
    return matching
