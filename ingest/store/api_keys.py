"""API keys at rest: made, listed and revoked. Only their SHA-256 and a short prefix are stored.

There are two kinds, each in a table of its own: one writes events, the other one reads them.
"""

import secrets
import string
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, NamedTuple

from ingest.metering.rate_limits import NAMES, RateLimits
from ingest.store import kept_limits, key_limits
from ingest.store.key_limits import KeyLimits
from ingest.store.postgres import Connection
from ingest.store.tokens import digest

_ALPHABET = string.ascii_letters + string.digits
_SECRET_CHARS = 43
_LISTED_MAX = 1_000
PREFIX_CHARS = 11
"""`nk_` and 8 more: enough to tell keys apart, useless for guessing one."""


class Kind(Enum):
    """What a key may do; the values are for people."""

    WRITE = "write"
    READ = "read"

    @property
    def start(self) -> str:
        """What its secret begins with."""
        return "nk_" if self is Kind.WRITE else "nr_"

    @property
    def table(self) -> str:
        """Where it is kept."""
        return "api_keys" if self is Kind.WRITE else "read_keys"


_RATES: Final = ", ".join(f"kept.{name}" for name in NAMES)
_NO_RATES: Final = ", ".join("NULL::bigint" for _ in NAMES)
_LIMITS: Final = {
    Kind.WRITE: f"origins, event_names, {_RATES}",
    Kind.READ: f"'{{}}'::text[], '{{}}'::text[], {_NO_RATES}",
}
_MAY_ERASE: Final = {Kind.WRITE: "false", Kind.READ: "may_erase"}
_LIST: Final = " UNION ALL ".join(
    f"SELECT '{kind.value}' AS kind, kept.id, app_id, apps.name AS app, kept.name, prefix,"  # noqa: S608 - names of ours
    f" kept.created_at, expires_at, revoked_at, used_at, {_MAY_ERASE[kind]}, {_LIMITS[kind]}"
    f" FROM {kind.table} AS kept JOIN apps ON apps.id = app_id"
    " LEFT JOIN api_key_uses USING (secret_sha256)"
    for kind in Kind
)


_RATE: Final = len(NAMES)
_KEPT: Final = 2 + _RATE

IS_VALID: Final = "revoked_at IS NULL AND (expires_at > now()) IS NOT FALSE"


class ApiKey(NamedTuple):
    """What is known of a key; never the secret."""

    kind: Kind
    id: int
    """Among those of its kind."""
    app_id: int
    app: str
    name: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    """By the minute; None where nobody has seen it used."""
    may_erase: bool
    """Whether it may erase people; none may unless somebody has said so."""
    limits: KeyLimits | None
    """None for none."""
    rate_limits: RateLimits

    def state(self, now: datetime) -> str:
        """Return `active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active"


def new_secret(kind: Kind = Kind.WRITE) -> str:
    """Return a new key: `nk_` or `nr_`, and 43 letters and digits, which is 256 random bits."""
    return kind.start + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARS))


async def create(  # noqa: PLR0913 - what a key has
    connection: Connection,
    app: str,
    name: str,
    expires_in_days: int | None,
    kind: Kind = Kind.WRITE,
    limits: KeyLimits | None = None,
    *,
    may_erase: bool = False,
) -> str:
    """Make a key for an app, and the app if it is new; return the secret, which is kept nowhere.

    Limits are for one that writes, and that it `may_erase` people for one that reads.
    """
    secret = new_secret(kind)
    now = datetime.now(UTC)
    expires_at = now + timedelta(days=expires_in_days) if expires_in_days else None
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO apps (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", app
        )
        await connection.execute(
            f"INSERT INTO {kind.table} (app_id, name, prefix, secret_sha256, expires_at)"  # noqa: S608 - ours
            " SELECT id, $2, $3, $4, $5 FROM apps WHERE name = $1",
            app,
            name,
            secret[:PREFIX_CHARS],
            digest(secret),
            expires_at,
        )
        if limits is not None:
            await connection.execute(
                "UPDATE api_keys SET origins = $2, event_names = $3 WHERE secret_sha256 = $1",
                digest(secret),
                limits.origins,
                limits.event_names,
            )
        if may_erase:
            await connection.execute(
                "UPDATE read_keys SET may_erase = true WHERE secret_sha256 = $1", digest(secret)
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
    """Return all keys of both kinds, also the revoked ones, by app and age."""
    rows = await connection.fetch(f"{_LIST} ORDER BY app, created_at")
    return [_read(row) for row in rows]


async def list_of(connection: Connection, app_id: int) -> list[ApiKey]:
    """Return an app's keys of both kinds, a thousand at most: valid ones and new ones first."""
    rows = await connection.fetch(
        f"SELECT * FROM ({_LIST}) AS listed WHERE app_id = $1"  # noqa: S608 - names of ours
        " ORDER BY revoked_at IS NOT NULL OR coalesce(expires_at <= now(), false),"
        " created_at DESC LIMIT $2",
        app_id,
        _LISTED_MAX,
    )
    return [_read(row) for row in rows]


async def find_unrevoked(connection: Connection, prefix: str) -> list[ApiKey]:
    """Return the unrevoked keys whose stored prefix starts so."""
    return [
        key
        for key in await list_all(connection)
        if key.revoked_at is None and key.prefix.startswith(prefix[:PREFIX_CHARS])
    ]


async def revoke(connection: Connection, prefix: str) -> list[ApiKey]:
    """Revoke the one unrevoked key whose stored prefix starts so; return what matched.

    Nothing is revoked unless exactly one key matches.
    """
    matching = await find_unrevoked(connection, prefix)
    if len(matching) == 1:
        (found,) = matching
        await connection.execute(
            f"UPDATE {found.kind.table} SET revoked_at = now()"  # noqa: S608 - a name of ours
            " WHERE prefix = $1 AND revoked_at IS NULL",
            found.prefix,
        )
    return matching


async def revoke_one(connection: Connection, app_id: int, kind: Kind, key_id: int) -> ApiKey | None:
    """Revoke a key of an app; return it as it was, None if it is none that is still valid."""
    found = await _find_valid(connection, app_id, kind, key_id)
    if found is not None:
        await connection.execute(
            f"UPDATE {kind.table} SET revoked_at = now() WHERE id = $1",  # noqa: S608 - ours
            key_id,
        )
    return found


async def let_expire(
    connection: Connection, app_id: int, kind: Kind, key_id: int, hours: int
) -> ApiKey | None:
    """Have a key of an app expire in so many hours at the latest; return it as `revoke_one`."""
    found = await _find_valid(connection, app_id, kind, key_id)
    if found is not None:
        await connection.execute(
            f"UPDATE {kind.table} SET expires_at = least(expires_at,"  # noqa: S608 - ours
            " now() + make_interval(hours => $2)) WHERE id = $1",
            key_id,
            hours,
        )
    return found


async def find_writing(connection: Connection, app_id: int, key_id: int) -> ApiKey | None:
    """Return a key of an app that writes and is valid; None if it is none."""
    row = await connection.fetchrow(
        f"SELECT * FROM ({_LIST}) AS listed"  # noqa: S608 - names of ours
        f" WHERE kind = $1 AND app_id = $2 AND id = $3 AND {IS_VALID}",
        Kind.WRITE.value,
        app_id,
        key_id,
    )
    return None if row is None else _read(row)


async def limit_rates(
    connection: Connection, app_id: int, key_id: int, rate_limits: RateLimits
) -> ApiKey | None:
    """Have a key of an app that writes held to these limits; return it as `revoke_one`."""
    found = await _find_valid(connection, app_id, Kind.WRITE, key_id)
    if found is not None:
        await kept_limits.set_of_key(connection, key_id, rate_limits)
    return found


async def count_valid(connection: Connection, app_id: int) -> int:
    """Return how many keys of an app are valid."""
    listed = f"SELECT count(*) FROM ({_LIST}) AS listed WHERE app_id = $1 AND {IS_VALID}"  # noqa: S608 - ours
    return int(await connection.fetchval(listed, app_id))


async def _find_valid(
    connection: Connection, app_id: int, kind: Kind, key_id: int
) -> ApiKey | None:
    """Find a key that is valid, and have nobody else change it until the transaction ends."""
    locked = await connection.fetchval(
        f"SELECT id FROM {kind.table} WHERE id = $1 AND app_id = $2 AND {IS_VALID} FOR UPDATE",  # noqa: S608 - ours
        key_id,
        app_id,
    )
    row = await connection.fetchrow(
        f"SELECT * FROM ({_LIST}) AS listed WHERE kind = $1 AND id = $2",  # noqa: S608 - ours
        kind.value,
        locked,
    )
    return None if row is None else _read(row)


def _read(row: Iterable[Any]) -> ApiKey:
    kind, *values = row
    values, (origins, event_names), rates = values[:-_KEPT], values[-_KEPT:-_RATE], values[-_RATE:]
    limits = key_limits.kept(origins, event_names)
    return ApiKey._make((Kind(kind), *values, limits, RateLimits(*rates)))
