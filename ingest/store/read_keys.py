"""Whose events a read key opens: looked up in the database with every question, kept nowhere.

What writes is in `api_keys`, what reads is in `read_keys`: neither does for the other.
"""

from typing import Final

from ingest.store.api_keys import IS_VALID
from ingest.store.app_settings import COLUMNS, AppSettings
from ingest.store.postgres import Connection
from ingest.store.tokens import digest

_FIND: Final = (
    f"SELECT {COLUMNS} FROM read_keys JOIN apps ON apps.id = app_id"  # noqa: S608 - names of ours
    f" WHERE secret_sha256 = $1 AND {IS_VALID}"
)


async def find(connection: Connection, secret: str) -> AppSettings | None:
    """Return the app whose valid read key this is; None for any other text.

    Neither a revoked key nor one that has expired is valid, by the database's clock. Raises
    PostgresError.
    """
    row = await connection.fetchrow(_FIND, digest(secret))
    return None if row is None else AppSettings(*row)


async def prefix_if_may_erase(connection: Connection, key: bytes) -> str | None:
    """Return what a key begins with, by its digest; None unless it is valid and may erase people.

    Raises PostgresError.
    """
    found: str | None = await connection.fetchval(
        f"SELECT prefix FROM read_keys WHERE secret_sha256 = $1 AND {IS_VALID} AND may_erase",  # noqa: S608
        key,
    )
    return found
