"""Links that sign somebody in once: an administrator, who was invited, or who has no password."""

from typing import Any, Final, NamedTuple

from ingest.store import tokens
from ingest.store.accounts import Role
from ingest.store.postgres import Connection

HOURS: Final = 1
INVITATION_HOURS: Final = 7 * 24
_COLUMNS: Final = (
    "account_id, (SELECT email FROM accounts WHERE id = account_id), app_id,"
    " (SELECT name FROM apps WHERE id = app_id), role, made_by"
)
_OPENS: Final = (
    "token_sha256 = $1 AND expires_at > now() AND (made_by IS NULL"
    " OR EXISTS (SELECT FROM accounts WHERE id = made_by AND is_admin)"
    " OR EXISTS (SELECT FROM account_roles AS own WHERE own.account_id = made_by"
    " AND own.app_id = link.app_id AND own.role = 'owner'))"
)


class Link(NamedTuple):
    """What whoever opens it becomes."""

    account_id: int | None = None
    """The account whose password is chosen anew; None: one is made."""
    email: str | None = None
    """Of that account."""
    app_id: int | None = None
    """The app that it is a part of then; None without an account: it is an administrator."""
    app: str | None = None
    role: Role | None = None
    made_by: int | None = None
    """The account that invites: the link opens as long as that owns the app."""


async def make(connection: Connection, link: Link, hours: int = HOURS) -> str:
    """Make a link that opens once, for some hours; return its token, which is kept nowhere."""
    token = tokens.new()
    await connection.execute("DELETE FROM sign_in_links WHERE expires_at <= now()")
    await connection.execute(
        "INSERT INTO sign_in_links (token_sha256, account_id, app_id, role, made_by, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, now() + make_interval(hours => $6))",
        tokens.digest(token),
        link.account_id,
        link.app_id,
        None if link.role is None else link.role.value,
        link.made_by,
        hours,
    )
    return token


async def look(connection: Connection, token: str) -> Link | None:
    """Return what a link would do; None for one that was used, has expired, or never was."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM sign_in_links AS link WHERE {_OPENS}",  # noqa: S608 - ours
        tokens.digest(token),
    )
    return _read(row)


async def consume(connection: Connection, token: str) -> Link | None:
    """Use a link up, in a transaction of the caller's; None as `look` has it.

    Of two who use it at once the second waits, and gets None unless the first gives it back.
    """
    row = await connection.fetchrow(
        f"DELETE FROM sign_in_links AS link WHERE {_OPENS}"  # noqa: S608 - ours
        f" RETURNING {_COLUMNS}",
        tokens.digest(token),
    )
    return _read(row)


def _read(row: Any) -> Link | None:  # noqa: ANN401 - a record, or None
    if row is None:
        return None
    account_id, email, app_id, app, role, made_by = row
    return Link(account_id, email, app_id, app, None if role is None else Role(role), made_by)


async def count_of(connection: Connection, app_id: int) -> int:
    """Return how many invitations of an app are open."""
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM sign_in_links WHERE app_id = $1 AND expires_at > now()", app_id
        )
    )


async def drop_of(connection: Connection, account_id: int) -> None:
    """Have no link choose a password of an account any more."""
    await connection.execute("DELETE FROM sign_in_links WHERE account_id = $1", account_id)
