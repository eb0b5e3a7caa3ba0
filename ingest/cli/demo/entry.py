"""The way in: the app and its keys, and the link whose opener becomes an administrator."""

from datetime import UTC, datetime
from typing import NamedTuple

from ingest.cli.demo.state import State
from ingest.store import accounts, api_keys, app_settings, audit_log, sign_in_links
from ingest.store.api_keys import Kind
from ingest.store.postgres import Connection
from ingest.store.sign_in_links import Link

APP = "Demo shop"
_ACTIVE = "active"
_WHO = "nonito demo"


class Entry(NamedTuple):
    """What opens a demo."""

    write_key: str
    read_key: str
    token: str | None
    """Of the link; None if somebody has an account already."""


async def make(connection: Connection, state: State) -> Entry:
    """Make what is missing of it."""
    if await app_settings.create(connection, APP) is not None:
        await app_settings.change(connection, APP, None, state.zone)
    return Entry(
        write_key=await _key(connection, state.write_key, Kind.WRITE),
        read_key=await _key(connection, state.read_key, Kind.READ),
        token=await _token(connection),
    )


async def _key(connection: Connection, secret: str, kind: Kind) -> str:
    """Return the key that there is, or another one where somebody has revoked it."""
    now = datetime.now(UTC)
    active = {
        key.prefix for key in await api_keys.list_all(connection) if key.state(now) == _ACTIVE
    }
    if secret[: api_keys.PREFIX_CHARS] in active:
        return secret
    return await api_keys.create(connection, APP, "demo", None, kind)


async def _token(connection: Connection) -> str | None:
    if await accounts.exist(connection):
        return None
    await audit_log.note(connection, _WHO, None, "made a link", "an administrator")
    return await sign_in_links.make(connection, Link())
