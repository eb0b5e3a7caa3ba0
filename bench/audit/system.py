"""The system under test: Postgres, the servers on it, a proxy before it for each, and the disks."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final

from bench.audit.archive import ArchiveDisk
from bench.audit.disk import SmallDisk
from bench.audit.node import Node
from bench.audit.postgres import DATABASE, MAINTENANCE, OWNER, Database
from bench.audit.process import ServerProcess
from bench.audit.proxy import Proxy
from bench.audit.recorder import Recorder
from bench.audit.spool_disk import SpoolDisk, file_bytes

LISTEN_TIMEOUT_S: Final = 60.0
STAFFED_S_MAX: Final = 60.0
"""So long it may take until another worker serves in the place of one, on a busy machine."""
_QUIET_S: Final = 0.2


@dataclass
class System:
    """All parts, which the faults act on; `lift` brings everything back to good order.

    `server`, `proxy` and `spool` are those of the server that a fault is aimed at.
    """

    database: Database
    nodes: list[Node]
    tablespace: SmallDisk
    recorder: Recorder
    archive: ArchiveDisk | None = None
    """None for a server that keeps none."""
    bad_exits: list[str] = field(default_factory=list)
    """Of servers that were told to stop and did not end with exit code 0."""
    aim: int = 0
    """The number of the server that a fault is aimed at."""

    @property
    def node(self) -> Node:
        """The server that a fault is aimed at, with what is its own."""
        return self.nodes[self.aim]

    @property
    def server(self) -> ServerProcess:
        """Its processes."""
        return self.node.server

    @property
    def proxy(self) -> Proxy:
        """Its way to Postgres."""
        return self.node.proxy

    @property
    def spool(self) -> SpoolDisk:
        """Its spool."""
        return self.node.spool

    @property
    def all_aimed(self) -> "list[System]":
        """Each server's view of the system: one copy for each, with that server aimed at."""
        return [replace(self, aim=node.number) for node in self.nodes]

    @property
    def proxied_url(self) -> str:
        """Where the server connects: the proxy, as its own role."""
        return f"postgresql://{OWNER}@127.0.0.1:{self.proxy.port}/{DATABASE}?sslmode=disable"

    def largest_file_bytes(self) -> int:
        """Return the size of the largest file that the server writes."""
        return max(self.spool.largest_file_bytes(), file_bytes(self.server.log_path))

    async def see_staffed(self, behind: str) -> None:
        """Wait until all workers serve that have to; note it if that takes too long."""
        for _ in range(2):  # a second round of replacements begins behind the first
            if not await self.server.wait_until_staffed(STAFFED_S_MAX):
                count = len(self.server.workers)
                self.recorder.unstaffed(f"{behind}: {count} workers, {STAFFED_S_MAX:.0f} s on")
                return
            await asyncio.sleep(_QUIET_S)

    async def terminate_server(self) -> None:
        """Stop it in good order and note when it isn't."""
        await self.server.wait_until_listening(LISTEN_TIMEOUT_S)
        await self.server.wait_until_staffed(LISTEN_TIMEOUT_S)  # nobody's kill is its end's
        code = await self.server.terminate()
        if code:
            self.bad_exits.append(f"exit code {code} behind SIGTERM")

    async def start_server(self) -> None:
        """Start it and wait until it listens."""
        self.server.spawn()
        await self.server.wait_until_listening(LISTEN_TIMEOUT_S)

    async def wait_until_all_listen(self) -> None:
        """Wait until each server takes connections."""
        for node in self.nodes:
            await node.server.wait_until_listening(LISTEN_TIMEOUT_S)

    def spooled(self) -> int:
        """Return how many events wait on the servers' disks; -1 if one can't be read."""
        left = [node.spool.left() for node in self.nodes]
        return min(left) if min(left) < 0 else sum(left)

    async def lift(self) -> None:
        """End whatever a fault may have left behind."""
        for node in self.nodes:
            node.proxy.allow()
            node.proxy.release()
            node.spool.free()
        self.tablespace.free()
        if self.archive is not None:
            self.archive.free()
        await self.database.start()
        await self.database.put_back()
        await self.database.end_rule()
        await self.allow_writes()

    async def allow_writes(self) -> None:
        """Undo both ways of making the database read-only."""
        async with self.database.session(MAINTENANCE) as connection:
            await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await connection.execute(
                f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only"
            )
            await connection.execute("SELECT pg_reload_conf()")
