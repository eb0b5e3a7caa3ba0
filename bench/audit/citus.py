"""The audit's Postgres where that is a Citus: a database over nodes that were there before.

What is killed, hung and stopped as Postgres is the coordinator; its workers have faults of their
own (`citus_faults.py`).
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal

import asyncpg

from bench.audit.disk import SmallDisk
from bench.audit.postgres import DATABASE, MAINTENANCE, OWNER, Database, connected
from bench.citus import Nodes
from bench.load.database import Session

_MAKE_OWNER: Final = (
    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{0}')"
    " THEN CREATE ROLE {0} LOGIN; END IF; END $$"
)
_SPREAD: Final = """
SELECT setval(pg_get_serial_sequence('apps', 'id'), min(app_id) - 1)
FROM generate_series(2, 100) AS app_id JOIN citus_shards AS its
    ON its.shardid = get_shard_id_for_distribution_column('events', app_id)
WHERE its.nodeport <> (SELECT nodeport FROM citus_shards
    WHERE shardid = get_shard_id_for_distribution_column('events', 1))
"""
_RECOVER: Final = "SELECT recover_prepared_transactions()"


class CitusDatabase(Database):
    """A database of the audit's own on all nodes of a Citus."""

    impossible = frozenset(
        {
            "another-database",  # one over several nodes can't be renamed
            "connections-full",  # its limit is not the audit's
            "tablespace-full",
            "trigger-drops",  # Citus has no triggers on distributed tables
            "trigger-drops-long",
            "trigger-raises",
            "trigger-broken",
            "row-security",
            "column-renamed",
            "partition-gone",
            "other-index-conflicts",  # a unique index needs the app in it
        }
    )

    def __init__(self, url: str) -> None:
        """Find the nodes; raise BenchError."""
        self.nodes = Nodes(url)
        self._undo = ""
        coordinator = self.nodes.coordinator
        ((directories,),) = coordinator.fetch("SHOW unix_socket_directories")
        self._socket = f"{directories.split(',')[0].strip()}/.s.PGSQL.{coordinator.port}"

    @property
    def url(self) -> str:
        """Where the audit itself connects."""
        return self.nodes.coordinator.url(DATABASE)

    @property
    def socket_path(self) -> str:
        """The socket that the proxy passes connections on to."""
        return self._socket

    def create(self) -> None:
        """Make the database anew on all nodes."""
        self.nodes.start()
        self.nodes.drop_database(DATABASE)
        self.nodes.make_database(DATABASE)
        for node in self.nodes.all:
            node.fetch(_MAKE_OWNER.format(OWNER))
            node.fetch(f"ALTER DATABASE {DATABASE} OWNER TO {OWNER}")

    def add_tablespace(self, disk: SmallDisk) -> None:
        """Make none: disks of nodes are not the audit's."""

    async def start(self) -> None:
        """Start what does not run, and wait until it takes connections."""
        await asyncio.to_thread(self.nodes.start)

    async def stop(self, mode: Literal["fast", "immediate"]) -> None:
        """Stop the coordinator and wait until it is gone."""
        await asyncio.to_thread(self.nodes.coordinator.stop, mode)

    async def kill(self) -> None:
        """Kill every process of the coordinator at once (SIGKILL) and wait until all are gone."""
        await asyncio.to_thread(self.nodes.coordinator.kill)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the coordinator."""
        self.nodes.coordinator.send(number)

    def destroy(self) -> None:
        """Drop the database; the nodes stay."""
        with suppress(OSError, asyncpg.PostgresError):
            self.nodes.start()
            self.nodes.drop_database(DATABASE)

    def _owned_url(self, database: str) -> str:
        url = self.nodes.coordinator.url(database)
        scheme, _, rest = url.partition("//")
        return f"{scheme}//{OWNER}@{rest.rpartition('@')[2]}"

    @asynccontextmanager
    async def session(self, database: str = DATABASE) -> AsyncIterator[Session]:
        """Yield a connection of the superuser's that may write; raise what asyncpg raises."""
        async with connected(self.nodes.coordinator.url(database)) as connection:
            yield connection

    async def version(self) -> str:
        """Return which Postgres and which Citus it is."""
        return await asyncio.to_thread(lambda: self.nodes.version)

    async def settle(self) -> None:
        """Have done on all nodes what the coordinator has committed; raise what asyncpg raises."""
        await self.start()
        async with self.session() as connection:
            await connection.execute(_RECOVER)

    async def spread(self) -> None:
        """Have the next app's events on another node than the first one's."""
        await self.execute(_SPREAD)

    async def put_back(self) -> None:
        """Nothing was exchanged."""
        await self.execute("SELECT 1", database=MAINTENANCE)
