"""A Citus that is there already: its nodes, to be asked, killed, hung and started again.

Its URL is a superuser's, of a database on the coordinator that has the extension and knows the
workers (`citus_set_coordinator_host`, `citus_add_node`). Each node takes the same user without a
password at the address that `pg_dist_node` has for it, and runs on this machine, started by
`pg_ctl` from a data directory whose settings are all in its files: so what kills one finds its
processes by `postmaster.pid`, and starts it again as the owner of that directory.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import psutil

from bench.errors import BenchError

VARIABLE: Final = "CITUS_URL"
"""The environment's variable for such a URL."""
_START_TIMEOUT_S: Final = 60
_GONE_TIMEOUT_S: Final = 10
_CONNECT_TIMEOUT_S: Final = 30
_STATEMENT_TIMEOUT_S: Final = 60
_NODES: Final = (
    "SELECT nodename, nodeport FROM pg_dist_node WHERE isactive AND groupid > 0 ORDER BY groupid"
)
_VERSION: Final = (
    "SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1)"
    " || ', ' || split_part(citus_version(), ' on ', 1)"
)
_WHERE: Final = (
    "SELECT current_setting('data_directory') AS data,"
    " (SELECT setting FROM pg_config WHERE name = 'BINDIR') AS programs"
)


class Node:
    """One Postgres of several."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.host, self.port = self._url.hostname or "", self._url.port or 5432
        self.database = self._url.path.lstrip("/")
        """Which is there before any other."""
        (row,) = self.fetch(_WHERE)
        self._data, self._programs = Path(row["data"]), Path(row["programs"])

    def url(self, database: str) -> str:
        """Return where to connect."""
        return self._url._replace(path=f"/{database}").geturl()

    def beside(self, host: str, port: int) -> str:
        """Return where to connect to another node, as the same user."""
        user = f"{self._url.username}@" if self._url.username else ""
        return self._url._replace(netloc=f"{user}{host}:{port}").geturl()

    def fetch(self, sql: str, *arguments: object, database: str = "") -> list[Any]:
        """Run a statement on a connection of its own; raise what asyncpg raises."""

        async def work() -> list[Any]:
            url = self.url(database or self.database)
            connection = await asyncpg.connect(url, timeout=_CONNECT_TIMEOUT_S)
            try:
                return list(await connection.fetch(sql, *arguments, timeout=_STATEMENT_TIMEOUT_S))
            finally:
                await connection.close()

        return asyncio.run(work())

    def processes(self) -> list[psutil.Process]:
        """Return the postmaster and all its children; none when it does not run."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split(maxsplit=1)[0])
            postmaster = psutil.Process(pid)
            return [postmaster, *postmaster.children(recursive=True)]
        except (OSError, IndexError, ValueError, psutil.NoSuchProcess):
            return []

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process of it."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self) -> None:
        """Kill every process of it at once (SIGKILL) and wait until they are gone."""
        victims = self.processes()
        self.send(signal.SIGKILL)
        psutil.wait_procs(victims, timeout=_GONE_TIMEOUT_S)

    def start(self) -> None:
        """Start it unless it runs, and wait until it takes connections; raise BenchError."""
        self.send(signal.SIGCONT)
        if self._control("status"):
            log = f"--log={self._data / 'server.log'}"
            if self._control("start", "--wait", log) and self._control("status"):
                raise BenchError(f"the node at port {self.port} does not start")

    def stop(self, mode: str) -> None:
        """Stop it in a mode of `pg_ctl`'s, and wait until it is gone."""
        self._control("stop", "--wait", f"--mode={mode}")

    def _control(self, action: str, *options: str) -> int:
        return subprocess.run(  # noqa: S603 - Postgres's own program
            [self._programs / "pg_ctl", f"--pgdata={self._data}", action, *options],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_START_TIMEOUT_S,
            **self._account(),
        ).returncode

    def _account(self) -> Mapping[str, Any]:
        owner = self._data.stat()
        return {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}


class Nodes:
    """A coordinator and its workers."""

    def __init__(self, url: str) -> None:
        """Find them all; raise BenchError if the coordinator can't be asked."""
        try:
            self.coordinator = Node(url)
            rows = self.coordinator.fetch(_NODES)
            self.workers = [Node(self.coordinator.beside(*row)) for row in rows]
        except (OSError, asyncpg.PostgresError) as error:
            raise BenchError(f"no Citus that can be used ({error}); see bench/citus.py") from error
        if not self.workers:
            raise BenchError("the coordinator of Citus knows no workers: citus_add_node")

    @property
    def version(self) -> str:
        """Which Postgres and which Citus the coordinator is."""
        ((found,),) = self.coordinator.fetch(_VERSION)
        return str(found)

    @property
    def all(self) -> list[Node]:
        """All, the coordinator first."""
        return [self.coordinator, *self.workers]

    def start(self) -> None:
        """Start every node that does not run, and let go on what hangs."""
        for node in self.all:
            node.start()

    def make_database(self, name: str) -> None:
        """Make a database on all nodes, which know each other there."""
        for node in self.all:
            node.fetch(f"CREATE DATABASE {name}")
            node.fetch("CREATE EXTENSION citus", database=name)
        coordinator = self.coordinator
        place = (coordinator.host, coordinator.port)
        coordinator.fetch("SELECT citus_set_coordinator_host($1, $2)", *place, database=name)
        for node in self.workers:
            add = "SELECT citus_add_node($1, $2)"
            coordinator.fetch(add, node.host, node.port, database=name)

    def drop_database(self, name: str) -> None:
        """Drop one, whoever still uses it, with what was prepared there and never committed."""
        for node in self.all:
            prepared = "SELECT gid FROM pg_prepared_xacts WHERE database = $1"
            for (gid,) in node.fetch(prepared, name):
                with suppress(asyncpg.PostgresError):
                    node.fetch(f"ROLLBACK PREPARED '{gid}'", database=name)
            node.fetch(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
