"""The audit's own Postgres: killed, hung, stopped and started again, and asked beside the proxy."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import asyncpg
import psutil

from bench import machine
from bench.audit.disk import SmallDisk
from bench.load.database import Session
from ingest.store import migrations
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs
from ingest.store.postgres import Postgres

DATABASE: Final = "audit"
OWNER: Final = "ingest"
"""The server's role. It owns the database and is no superuser, so that policies bind it."""
TABLESPACE: Final = "audit_small"
"""On a disk that can be filled."""
MAINTENANCE: Final = "postgres"
_OTHER: Final = "audit_other"
_ASIDE: Final = "audit_aside"
_CONNECTIONS_MAX: Final = 30
"""For each server: few, so that they are soon taken up; clients never connect here."""
END_SESSIONS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = $1 AND application_name <> 'audit'"
)
_DATA: Final = "postgres"
_SETTING: Final = "autovacuum_naptime=10s"
_TIMEOUT_S: Final = 10.0
_ALTER_TIMEOUT_S: Final = 60.0
_ALTER_TRIES: Final = 30
_GONE_TIMEOUT_S: Final = 10.0


class Database:
    """One cluster below `directory`, with durable default settings."""

    impossible: ClassVar[frozenset[str]] = frozenset()
    """Faults that it does not permit, by name."""

    def __init__(self, directory: Path, cores: frozenset[int], servers: int = 1) -> None:
        self.connections_max = _CONNECTIONS_MAX * servers
        self._settings = (f"max_connections={self.connections_max}", _SETTING)
        self._cluster = Cluster(directory, find_programs())
        self._cores = cores
        self._undo = ""

    @property
    def url(self) -> str:
        """Where the audit itself connects: the socket, past the proxy."""
        return self._cluster.url(DATABASE)

    @property
    def owner_url(self) -> str:
        """Where the audit connects as the server's role: the socket, past the proxy."""
        return self._owned_url(DATABASE)

    @property
    def socket_path(self) -> str:
        """The socket that the proxy passes connections on to."""
        host = self._cluster.url(DATABASE).partition("host=")[2]
        return f"{host.replace('%2F', '/')}/.s.PGSQL.5432"

    def create(self) -> None:
        """Make and start it, with an empty database."""
        with machine.pinned(self._cores):
            self._cluster.create()
            self._cluster.start(*self._settings)
        self._cluster.create_database(DATABASE)
        self._cluster.execute(f"CREATE ROLE {OWNER} LOGIN")
        self._cluster.execute(f"ALTER DATABASE {DATABASE} OWNER TO {OWNER}")

    def add_tablespace(self, disk: SmallDisk) -> None:
        """Make a tablespace on a disk, if that is one of its own."""
        if disk.is_own:
            owner = (self._cluster.directory / _DATA).stat()
            os.chown(disk.directory, owner.st_uid, owner.st_gid)
            self._cluster.execute(f"CREATE TABLESPACE {TABLESPACE} LOCATION '{disk.directory}'")
            self._cluster.execute(f"GRANT CREATE ON TABLESPACE {TABLESPACE} TO {OWNER}")

    async def start(self) -> None:
        """Start it unless it runs, and wait until it takes connections."""
        await asyncio.to_thread(self._cluster.start, *self._settings)

    async def stop(self, mode: Literal["fast", "immediate"]) -> None:
        """Stop it and wait until it is gone."""
        await asyncio.to_thread(self._cluster.stop, mode)

    async def kill(self) -> None:
        """Kill every process of it at once (SIGKILL) and wait until all are gone."""
        victims = machine.processes_of(self._cluster)
        self.signal(signal.SIGKILL)
        await asyncio.to_thread(psutil.wait_procs, victims, _GONE_TIMEOUT_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of it."""
        for process in machine.processes_of(self._cluster):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def destroy(self) -> None:
        """End it for good."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)

    def _owned_url(self, database: str) -> str:
        return self._cluster.url(database).replace("//postgres@", f"//{OWNER}@")

    @asynccontextmanager
    async def session(self, database: str = DATABASE) -> AsyncIterator[Session]:
        """Yield a connection of the superuser's that may write; raise what asyncpg raises."""
        async with connected(self._cluster.url(database)) as connection:
            yield connection

    async def version(self) -> str:
        """Return which Postgres it is."""
        async with self.session() as connection:
            return str(await connection.fetchval("SHOW server_version"))

    async def settle(self) -> None:
        """Have done what was committed, which all of it is here."""

    async def spread(self) -> None:
        """Have the next app's events elsewhere than the first one's, which here is nowhere."""

    async def alter(self, sql: str) -> None:
        """Change tables, in one transaction; try again while somebody has them locked."""
        for tries_left in range(_ALTER_TRIES, -1, -1):
            try:
                async with self.session() as connection:
                    await connection.execute("SET lock_timeout = '2s'")
                    await connection.execute(sql, timeout=_ALTER_TIMEOUT_S)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                if not tries_left:
                    raise
            else:
                return

    async def rule(self, done: str, undo: str) -> None:
        """Put a rule on the tables, as SQL, and keep the SQL by which `end_rule` undoes it."""
        await self.alter(done)
        self._undo = undo

    async def end_rule(self) -> None:
        """Undo what was done to the tables."""
        if self._undo:
            await self.alter(self._undo)
            self._undo = ""

    async def execute(self, sql: str, *arguments: Any, database: str = DATABASE) -> None:  # noqa: ANN401
        """Run one statement on a connection of its own."""
        async with self.session(database) as connection:
            await connection.execute(sql, *arguments)

    async def terminate_sessions(self) -> None:
        """End every session of the server's."""
        await self.execute(END_SESSIONS, DATABASE, database=MAINTENANCE)

    async def exchange(self) -> None:
        """Put another database, with the same tables and nobody's rows, in its place."""
        await asyncio.to_thread(self._cluster.create_database, _OTHER)
        await self.execute(f"ALTER DATABASE {_OTHER} OWNER TO {OWNER}", database=MAINTENANCE)
        url = self._owned_url(_OTHER)
        other = Postgres(url, connect_timeout_s=_TIMEOUT_S, commit_timeout_s=_TIMEOUT_S)
        await migrations.migrate(other)
        await self._rename(DATABASE, _ASIDE)
        await self._rename(_OTHER, DATABASE)

    async def put_back(self) -> None:
        """Undo an exchange, or what there is of it."""
        async with self.session(MAINTENANCE) as connection:
            names = {row[0] for row in await connection.fetch("SELECT datname FROM pg_database")}
        if _ASIDE not in names:
            return
        if DATABASE in names:
            await self._rename(DATABASE, _OTHER)
        await self._rename(_ASIDE, DATABASE)

    async def _rename(self, name: str, new_name: str) -> None:
        async with self.session(MAINTENANCE) as connection:
            await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1",
                name,
            )
            await connection.execute(f"ALTER DATABASE {name} RENAME TO {new_name}")
            await connection.execute(f"ALTER DATABASE {new_name} ALLOW_CONNECTIONS true")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Session]:
    """Yield a connection of the audit's that may write; raise what asyncpg raises."""
    connection = await asyncpg.connect(
        url,
        timeout=_TIMEOUT_S,
        command_timeout=_TIMEOUT_S,
        server_settings={"default_transaction_read_only": "off", "application_name": "audit"},
    )
    try:
        yield connection
    finally:
        connection.terminate()
