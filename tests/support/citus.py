"""The Citus that CITUS_URL leads to: databases of the tests on all of its nodes, for them to kill.

CITUS_URL is a superuser's, of a database on the coordinator that has the extension and knows the
workers (`citus_set_coordinator_host`, `citus_add_node`). Each node takes the same user without a
password at the address that `pg_dist_node` has for it, and runs on this machine, started by
`pg_ctl` from a data directory whose settings are all in its files: so what kills one finds its
processes by `postmaster.pid`, and starts it again as the owner of that directory.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from ingest.store.cluster import Cluster

VARIABLE: Final = "CITUS_URL"
WITHOUT: Final = f"needs {VARIABLE}: a coordinator of Citus with workers (tests/support/citus.py)"
_START_TIMEOUT_S: Final = 60
_GONE_TIMEOUT_S: Final = 10
_NODES: Final = "SELECT nodename, nodeport FROM pg_dist_node WHERE isactive ORDER BY groupid"


class Node:
    """One Postgres of several, the coordinator among them."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.host, self.port = self._url.hostname or "", self._url.port or 5432
        (row,) = self.fetch(
            "SELECT current_setting('data_directory') AS data,"
            " (SELECT setting FROM pg_config WHERE name = 'BINDIR') AS programs",
            self._url.path.lstrip("/"),
        )
        self._data, self._programs = Path(row["data"]), Path(row["programs"])

    def url(self, database: str) -> str:
        """Return where to connect."""
        return self._url._replace(path=f"/{database}").geturl()

    def fetch(self, sql: str, database: str, *arguments: object) -> list[Any]:
        """Run a statement on a connection of its own."""

        async def work() -> list[Any]:
            connection = await asyncpg.connect(self.url(database), timeout=30)
            try:
                return list(await connection.fetch(sql, *arguments, timeout=60))
            finally:
                await connection.close()

        return asyncio.run(work())

    def processes(self) -> list[psutil.Process]:
        """Return the postmaster and all its children; none when it does not run."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split(maxsplit=1)[0])
            postmaster = psutil.Process(pid)
        except (OSError, psutil.NoSuchProcess):
            return []
        return [postmaster, *postmaster.children(recursive=True)]

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
        """Start it unless it runs, and wait until it takes connections."""
        self.send(signal.SIGCONT)
        owner = self._data.stat()
        account = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
        command = [self._programs / "pg_ctl", f"--pgdata={self._data}"]
        ended = subprocess.run(
            [*command, "--wait", f"--log={self._data / 'server.log'}", "start"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_START_TIMEOUT_S,
            **account,  # type: ignore[call-overload]
        )
        if ended.returncode and not self._is_running():
            raise AssertionError(f"the node at port {self.port} did not start")

    def _is_running(self) -> bool:
        return bool(self.processes())


class Citus(Cluster):
    """A coordinator with workers, as a place for databases; what else a Cluster does it lacks."""

    def __init__(self, url: str) -> None:
        self._database = urlsplit(url).path.lstrip("/")
        self.coordinator = Node(url)

    @cached_property
    def workers(self) -> list[Node]:
        """All nodes but the coordinator."""
        rows = self.coordinator.fetch(_NODES, self._database)
        here = urlsplit(self.coordinator.url(self._database))
        user = f"{here.username}@" if here.username else ""
        urls = [here._replace(netloc=f"{user}{host}:{port}").geturl() for host, port in rows]
        return [Node(url) for url in urls if urlsplit(url).port != self.coordinator.port]

    @property
    def nodes(self) -> list[Node]:
        """All, the coordinator first."""
        return [self.coordinator, *self.workers]

    def url(self, database: str) -> str:
        """Return where to connect: the coordinator."""
        return self.coordinator.url(database)

    def execute(self, sql: str) -> str:
        """Run SQL on the coordinator and return the values of its rows, a line each."""
        rows = self.coordinator.fetch(sql, self._database)
        return "\n".join("|".join(map(str, row)) for row in rows)

    def start(self, *settings: str) -> None:  # noqa: ARG002 - they are in its files
        """Start every node that does not run."""
        for node in self.nodes:
            node.start()

    def make(self, name: str) -> None:
        """Make a database on all nodes, which know each other there."""
        for node in self.nodes:
            node.fetch(f"CREATE DATABASE {name}", self._database)
            node.fetch("CREATE EXTENSION citus", name)
        coordinator = self.coordinator
        coordinator.fetch(
            "SELECT citus_set_coordinator_host($1, $2)", name, coordinator.host, coordinator.port
        )
        for node in self.workers:
            coordinator.fetch("SELECT citus_add_node($1, $2)", name, node.host, node.port)

    def drop(self, name: str) -> None:
        """Drop one, whoever still uses it, with what was prepared there and never committed."""
        for node in self.nodes:
            node.start()
            prepared = "SELECT gid FROM pg_prepared_xacts WHERE database = $1"
            for (gid,) in node.fetch(prepared, self._database, name):
                with suppress(asyncpg.PostgresError):
                    node.fetch(f"ROLLBACK PREPARED '{gid}'", name)
            node.fetch(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", self._database)


@contextmanager
def running_citus() -> Iterator[Citus]:
    """Yield the Citus that there is, whole again afterwards; skip the test where there is none."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.skip(WITHOUT)
    citus = Citus(url)
    _ = citus.workers  # which nobody could ask of a dead coordinator
    try:
        yield citus
    finally:
        citus.start()
