"""Changes to tables in use, of which nobody is to notice anything.

Whoever asks for a lock that keeps others out has them queue up behind it before it even has the
lock. So a lock is asked for with a time-out of 200 ms, and all locks and the work of one statement
end within 800 ms. What did not get its locks lets everybody pass, and is tried again.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from ingest.store.postgres import Connection

LIMIT_MS: Final = 800.0
IN_THE_WAY: Final = (
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
)
"""What is raised where somebody else holds a lock; nothing is changed then."""


def limits(statement_ms: float = LIMIT_MS) -> str:
    """Return the SQL that limits the rest of a transaction."""
    return f"SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '{statement_ms:.0f}ms'"


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """Begin a transaction with these limits; commit it at the end. Raises one of IN_THE_WAY."""
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(limits())
        yield
