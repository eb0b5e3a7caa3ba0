"""What the schema still lacks while servers serve: what waited for a lock, an index, a setting.

Done by one process of each server, after the start: no event waits for it. Several servers at once
are in nobody's way.
"""

import asyncio
import random
from typing import Final

import asyncpg
import structlog

from ingest.errors import StartupError
from ingest.store import insert_vacuum, migrations, xact_index, xact_ranges
from ingest.store.failures import Unavailable
from ingest.store.postgres import Postgres
from ingest.store.reasons import reason_of

log = structlog.get_logger(__name__)

_TIMEOUT_S: Final = 3600.0
_INTERVAL_S: Final = 300.0
_RETRY_S: Final = 60.0
_ANOTHER_ROLE_S: Final = 3600.0


async def run(postgres: Postgres) -> None:
    """Make what is missing, for ever; an outage, or somebody's lock, only delays it."""
    while True:
        pause_s = await _look_after(postgres)
        await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter


async def complete(postgres: Postgres) -> bool:
    """Make what a migrated database can do without; return whether nothing was left to later.

    Raises Unavailable, and StartupError where the tables are another role's.
    """
    async with postgres.session(_TIMEOUT_S, postgres.turns.schema) as connection:
        try:
            parts = (insert_vacuum, xact_index, xact_ranges)
            return all([await each.complete(connection) for each in parts])
        except asyncpg.InsufficientPrivilegeError as error:
            raise StartupError(
                f"the table of events is not complete, and this role may not change it ({error}):"
                " run `nonito migrate` as the role that owns the tables"
            ) from error


async def _look_after(postgres: Postgres) -> float:
    """Make what is missing; return in how many seconds to look again."""
    try:
        await migrations.migrate(postgres, turn=postgres.turns.schema)
        return _INTERVAL_S if await complete(postgres) else _RETRY_S
    except migrations.Waiting:  # which has said so
        return _RETRY_S
    except StartupError as error:
        log.warning("the schema is not complete", reason=str(error))
        return _ANOTHER_ROLE_S
    except (Unavailable, asyncpg.PostgresError) as error:
        log.warning("the schema could not be looked after", reason=reason_of(error))
        return _RETRY_S
