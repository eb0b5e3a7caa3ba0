"""Sessions of those who have signed in: each is a token in one browser, and ends on its own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ingest.store import accounts, tokens
from ingest.store.accounts import Account, Role
from ingest.store.postgres import Connection

_CLIENT_CHARS_MAX: Final = 200
_MAX: Final = 50
"""Of one account; the one that was not used for longest ends when another one begins."""
_FIND: Final = """
SELECT session.id, session.created_at, account.id, email, is_admin,
    used_at < now() - interval '1 minute'
FROM account_sessions AS session JOIN accounts AS account ON account.id = account_id
WHERE token_sha256 = $1 AND expires_at > now()
"""
_BEGIN: Final = """
INSERT INTO account_sessions (account_id, token_sha256, client, expires_at)
VALUES ($1, $2, $3, now() + interval '30 days')
"""
_END_OLDEST: Final = """
DELETE FROM account_sessions WHERE account_id = $1 AND (expires_at <= now() OR id NOT IN (
    SELECT id FROM account_sessions WHERE account_id = $1 ORDER BY used_at DESC, id DESC LIMIT $2))
"""


class Session(NamedTuple):
    """Somebody who has signed in."""

    id: int
    began_at: datetime
    account: Account
    roles: Mapping[int, Role]
    """By app, as they are now."""

    def role_in(self, app_id: int) -> Role | None:
        """Return what they are in an app; None if it is none of theirs."""
        return Role.OWNER if self.account.is_admin else self.roles.get(app_id)


class Listed(NamedTuple):
    """A session as whoever it belongs to sees it."""

    id: int
    client: str
    began_at: datetime
    used_at: datetime


async def begin(connection: Connection, account_id: int, client: str) -> str:
    """Begin a session that lasts for 30 days; return its token, which is kept nowhere."""
    token = tokens.new()
    # What is no UTF-8 comes as surrogates, which no text of Postgres's may have.
    told = client[:_CLIENT_CHARS_MAX].encode(errors="replace").decode()
    async with connection.transaction():
        await connection.execute(_BEGIN, account_id, tokens.digest(token), told)
        await connection.execute(_END_OLDEST, account_id, _MAX)
    return token


async def find(connection: Connection, token: str) -> Session | None:
    """Return whose session a token is; None for any other text, and for one that has ended."""
    row = await connection.fetchrow(_FIND, tokens.digest(token))
    if row is None:
        return None
    session_id, began_at, account_id, email, is_admin, is_long_ago = row
    if is_long_ago:
        await connection.execute(
            "UPDATE account_sessions SET used_at = now() WHERE id = $1", session_id
        )
    roles = await accounts.roles_of(connection, account_id)
    return Session(session_id, began_at, Account(account_id, email, is_admin), roles)


async def list_of(connection: Connection, account_id: int) -> list[Listed]:
    """Return the sessions of an account that have not ended, the last used one first."""
    rows = await connection.fetch(
        "SELECT id, client, created_at, used_at FROM account_sessions"
        " WHERE account_id = $1 AND expires_at > now() ORDER BY used_at DESC, id DESC",
        account_id,
    )
    return [Listed(*row) for row in rows]


async def end(connection: Connection, account_id: int, session_id: int) -> bool:
    """End one session of an account; return whether it was one."""
    done = await connection.execute(
        "DELETE FROM account_sessions WHERE id = $2 AND account_id = $1", account_id, session_id
    )
    return done != "DELETE 0"


async def end_all(connection: Connection, account_id: int, but: int | None = None) -> None:
    """End all sessions of an account, or all but one."""
    await connection.execute(
        "DELETE FROM account_sessions WHERE account_id = $1 AND id IS DISTINCT FROM $2",
        account_id,
        but,
    )
