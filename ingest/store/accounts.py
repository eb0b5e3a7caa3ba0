"""Accounts: who may sign in, and which role they have in which app."""

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from ingest.store.postgres import Connection

EMAIL_CHARS_MAX: Final = 254


class Role(Enum):
    """What somebody may do in an app; each may what those behind it may."""

    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"

    def includes(self, needed: "Role") -> bool:
        """Return whether it may what `needed` may."""
        order = list(Role)
        return order.index(self) <= order.index(needed)


class Account(NamedTuple):
    """One account."""

    id: int
    email: str
    is_admin: bool
    """Whether it is an owner of every app, of new ones too."""


class Part(NamedTuple):
    """What an account is in one app."""

    account: Account
    role: Role


def normal(email: str) -> str:
    """Return an address as accounts are known by it."""
    return email.strip().lower()


async def find(connection: Connection, email: str) -> tuple[Account, str] | None:
    """Return the account of an address, in whatever case, with its password's hash."""
    row = await connection.fetchrow(
        "SELECT id, email, is_admin, password_hash FROM accounts WHERE email = $1", normal(email)
    )
    return None if row is None else (Account(*row[:3]), str(row[3]))


async def exist(connection: Connection) -> bool:
    """Return whether there is any account."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM accounts)"))


async def create(
    connection: Connection, email: str, password_hash: str, *, is_admin: bool
) -> Account | None:
    """Make an account; None if its address has one."""
    row = await connection.fetchrow(
        "INSERT INTO accounts (email, password_hash, is_admin) VALUES ($1, $2, $3)"
        " ON CONFLICT (email) DO NOTHING RETURNING id, email, is_admin",
        normal(email),
        password_hash,
        is_admin,
    )
    return None if row is None else Account(*row)


async def set_password(connection: Connection, account_id: int, password_hash: str) -> None:
    """Have an account sign in with another password."""
    await connection.execute(
        "UPDATE accounts SET password_hash = $2 WHERE id = $1", account_id, password_hash
    )


async def roles_of(connection: Connection, account_id: int) -> Mapping[int, Role]:
    """Return the role of an account by app; an administrator's are not all there."""
    rows = await connection.fetch(
        "SELECT app_id, role FROM account_roles WHERE account_id = $1", account_id
    )
    return {app_id: Role(role) for app_id, role in rows}


async def list_of(connection: Connection, app_id: int) -> list[Part]:
    """Return who has a part in an app, by address; administrators without one are left out."""
    rows = await connection.fetch(
        "SELECT id, email, is_admin, role FROM account_roles JOIN accounts ON id = account_id"
        " WHERE app_id = $1 ORDER BY email",
        app_id,
    )
    return [Part(Account(*account), Role(role)) for *account, role in rows]


async def grant(connection: Connection, account_id: int, app_id: int, role: Role) -> None:
    """Give an account a role in an app, instead of the one that it may have."""
    await connection.execute(
        "INSERT INTO account_roles (account_id, app_id, role) VALUES ($1, $2, $3)"
        " ON CONFLICT (account_id, app_id) DO UPDATE SET role = excluded.role",
        account_id,
        app_id,
        role.value,
    )


async def withdraw(connection: Connection, account_id: int, app_id: int) -> None:
    """Take an account's role in an app."""
    await connection.execute(
        "DELETE FROM account_roles WHERE account_id = $1 AND app_id = $2", account_id, app_id
    )
