"""The nodes of Citus that are away, and the apps whose events they hold.

A coordinator passes on what a node does not answer, or waits for it, whoever else has rows in the
statement. So once one has failed, all are asked; while one is away, whoever writes leaves out what
is its apps', and asks again each second. While all is well they are asked now and then, so that it
is told of also where nobody writes; a database without Citus is not.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final

import asyncpg
import structlog

from ingest.store.failures import UNTOLD, Outage, RowRefused, Unavailable
from ingest.store.postgres import Connection, Postgres

log = structlog.get_logger(__name__)

_ANSWER_MS: Final = 1_000
"""So long a node may take to let somebody in."""
_TIMEOUT_S: Final = 4.0
_TURN_S: Final = 2.0
_AGAIN_S: Final = 1.0
_CALM_S: Final = 30.0
_FRESH_S: Final = 0.2
_LIMIT: Final = f"SET LOCAL citus.node_connection_timeout = {_ANSWER_MS}"
_SILENT: Final = (
    "SELECT nodename || ':' || nodeport FROM run_command_on_workers('SELECT 1')"
    " WHERE NOT success ORDER BY 1"
)
_PLACES: Final = (
    "pg_dist_shard JOIN pg_dist_placement USING (shardid) JOIN pg_dist_node USING (groupid)"
)
_OF_EVENTS: Final = (
    "logicalrelid = 'events'::regclass AND nodename || ':' || nodeport = ANY ($1::text[])"
)
# Of some nodes those that hold events: one may be new, or about to go.
_HOLDING: Final = (
    f"SELECT DISTINCT nodename || ':' || nodeport FROM {_PLACES} WHERE {_OF_EVENTS} ORDER BY 1"  # noqa: S608 - constants of ours
)
_APPS: Final = (
    f"SELECT apps.id FROM apps CROSS JOIN {_PLACES} WHERE {_OF_EVENTS}"  # noqa: S608 - constants of ours
    " AND worker_hash(apps.id) BETWEEN shardminvalue::int AND shardmaxvalue::int"
)


class Nodes:
    """What one process knows of them."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._looking = asyncio.Lock()
        self._looked_s = -_FRESH_S
        self._away: list[str] = []
        self._is_any_away = asyncio.Event()
        self.apps_away: frozenset[int] = frozenset()
        """Those whose events are on a node that is away."""

    @property
    def away(self) -> int:
        """How many are away, as far as this process knows."""
        return len(self._away)

    def may_have_failed(self, failure: RowRefused | Unavailable) -> bool:
        """Return whether it may be a node that has failed, of several."""
        if not self._postgres.has_citus:
            return False
        if isinstance(failure, RowRefused):
            return failure.is_passing or failure.sqlstate == UNTOLD
        # Where the session itself has ended, it is the coordinator.
        return failure.outage is not Outage.CONNECTION_LOST

    async def look(self) -> None:
        """Find out which nodes are away; what can't be found out is left as it was."""
        async with self._looking:
            if time.monotonic() - self._looked_s < _FRESH_S:
                return
            try:
                async with self._postgres.session(_TIMEOUT_S, turn_timeout_s=_TURN_S) as connection:
                    await self._look(connection)
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("the nodes of Citus could not be asked", reason=str(error))
            self._looked_s = time.monotonic()

    async def run(self) -> None:
        """Look again each second while one is away, and else now and then, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CALM_S):
                    await self._is_any_away.wait()
            await asyncio.sleep(_AGAIN_S)
            if self._postgres.has_citus:
                await self.look()

    async def _look(self, connection: Connection) -> None:
        away, rows = await silent(connection), []
        if away:
            away = [str(node) for (node,) in await connection.fetch(_HOLDING, away)]
            rows = await connection.fetch(_APPS, away)
        self.apps_away = frozenset(app_id for (app_id,) in rows)
        self._tell(away)

    def _tell(self, away: list[str]) -> None:
        before, self._away = self._away, away
        if not away:
            self._is_any_away.clear()
            if before:
                log.info("all nodes of Citus are back", nodes=before)
            return
        self._is_any_away.set()
        if away != before:
            apps = len(self.apps_away)
            log.error("nodes of Citus are away: their apps' events wait", nodes=away, apps=apps)


async def silent(connection: Connection) -> list[str]:
    """Return the nodes that let nobody in, as HOST:PORT; raise PostgresError."""
    async with connection.transaction():  # a pooler gives the session to others
        await connection.execute(_LIMIT)
        return [str(node) for (node,) in await connection.fetch(_SILENT)]
