"""A server's machine goes away without a word, in the middle of a transaction.

Played by a network of its own, at the end of a cable that is cut: Postgres hears of nothing.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="networks are made by root, with ip"
    ),
]

HERE, THERE = "10.99.7.1", "10.99.7.2"
LOCKS = """
import asyncio, sys
from ingest.store.postgres import Postgres

async def main():
    postgres = Postgres(sys.argv[1], connect_timeout_s=5, commit_timeout_s=5)
    connection = await postgres.connect()
    await connection.execute("BEGIN; LOCK TABLE events")
    print("locked", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Cable:
    """A network namespace, and the cable that leads there."""

    def __init__(self) -> None:
        self.name = f"nonito-{os.getpid()}"

    def run(self, *words: str) -> None:
        """Run `ip`."""
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)

    def lay(self) -> None:
        """Connect another machine, as it were."""
        end, other = f"nd{os.getpid()}", f"ne{os.getpid()}"
        self.run("netns", "add", self.name)
        self.run("link", "add", end, "type", "veth", "peer", "name", other, "netns", self.name)
        self.run("addr", "add", f"{HERE}/24", "dev", end)
        self.run("link", "set", end, "up")
        self.run("-n", self.name, "addr", "add", f"{THERE}/24", "dev", other)
        self.run("-n", self.name, "link", "set", other, "up")

    def cut(self) -> None:
        """Let nothing arrive any more."""
        self.run("-n", self.name, "link", "set", f"ne{os.getpid()}", "down")


@contextmanager
def laid() -> Iterator[Cable]:
    """Lay a cable; skip where that is not permitted."""
    cable = Cable()
    try:
        cable.lay()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network can be made here: {error.stderr.decode()}")
    try:
        yield cable
    finally:
        cable.run("netns", "delete", cable.name)


@pytest.mark.timeout(180)
async def test_locks_of_a_server_whose_machine_is_gone_are_free_within_a_minute(
    own_cluster: Cluster,
) -> None:
    """By the kernel's own settings they would be held for two hours."""
    with laid() as cable:
        url = await asyncio.to_thread(listening, own_cluster)
        command = ["ip", "netns", "exec", cable.name, sys.executable, "-c", LOCKS, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:  # noqa: ASYNC220 - waits
            assert server.stdout is not None
            assert await asyncio.to_thread(server.stdout.readline) == b"locked\n"
            await asyncio.to_thread(cable.cut)
            server.kill()
        other = await asyncpg.connect(own_cluster.url(OWN_DATABASE), timeout=10)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await other.execute("BEGIN; LOCK TABLE events NOWAIT")
        await other.execute("ROLLBACK; SET lock_timeout = '60s'; BEGIN; LOCK TABLE events; COMMIT")
        await other.close()


def listening(cluster: Cluster) -> str:
    """Have a cluster listen at the cable's end as well; return where."""
    with cluster.log.with_name("pg_hba.conf").open("a", encoding="utf-8") as file:
        file.write(f"host all all {THERE}/32 trust\n")
    cluster.stop()
    cluster.start(f"listen_addresses={HERE}", "max_connections=300")
    return f"postgresql://postgres@{HERE}/{OWN_DATABASE}"
