"""Which database this is: a random id that the schema gives it, and that its spool and keys know.

App 2 of one database is somebody else in another one, so what was spooled for one is never brought
to another, and the keys of one open no other. A database that was restored from a back-up keeps its
id; a copy has it too, until somebody gives it one of its own.
"""

from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg

from ingest.store.failures import Outage, Unavailable

if TYPE_CHECKING:
    from ingest.store.postgres import Connection

MISSING: Final = (
    "the database has lost its id: nonito psql -c 'INSERT INTO nonito_database DEFAULT VALUES'"
)
QUERY: Final = "SELECT id FROM nonito_database"


class AnotherDatabase(Unavailable):
    """The database is not the one that this server, its spool and its keys belong to."""

    def __init__(self, found: UUID | None, expected: UUID) -> None:
        super().__init__(
            "this is another database than the one that the server's spool and keys belong to",
            stored=False,
            outage=Outage.FAILING,
            is_lasting=True,
            text=(
                f"its id is {found or 'missing'}, theirs {expected}: set database.url to theirs, or"
                " spool.path to another directory; `nonito spool adopt` gives this spool to this"
                " database"
            ),
        )

    def __str__(self) -> str:
        """Say also what to do."""
        return f"{self.reason}; {self.text}"


async def read(connection: "Connection") -> UUID | None:
    """Return a database's id; None for one that has none, since it is empty or of an old schema."""
    try:
        found: UUID | None = await connection.fetchval(QUERY)
    except asyncpg.UndefinedTableError:
        return None
    return found


def from_text(found: bytes | None) -> UUID | None:
    """Return an id from the text that Postgres sends."""
    return None if found is None else UUID(found.decode())
