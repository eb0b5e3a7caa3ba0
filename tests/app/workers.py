"""Several processes of one server for the tests, and what Postgres says of their connections."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import asyncpg

from ingest.share.segment import Segment
from tests.support.server import ROOT, Server, environment

NAME = "worker"
"""Of the first one's sessions `worker0`, and so on."""
LISTENS = "LISTEN"


@contextmanager
def running_workers(count: int, url: str, key: str, directory: Path) -> Iterator[list[Server]]:
    """Run so many processes of one server, with their spool in `directory`."""
    segment = Segment.create(count)
    processes: list[subprocess.Popen[bytes]] = []
    logs = [(directory / f"log{number}").open("w+b") for number in range(count)]
    try:
        for number, log in enumerate(logs):
            named = f"{url}&application_name={NAME}{number}"
            processes.append(_start(named, segment, directory, log))
        pairs = zip(processes, logs, strict=True)
        workers = [Server(process, log, key) for process, log in pairs]
        for worker in workers:
            worker.wait_until_ready()
        yield workers
    finally:
        for process in processes:
            process.kill()
            process.communicate()
        for log in logs:
            log.close()


def _start(url: str, segment: Segment, directory: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    shared, slot = str(segment.descriptor), str(segment.take_slot(0))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.app.worker", url, shared, slot, str(directory / "spool")],
        pass_fds=[segment.descriptor],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=ROOT,
        env=environment(),
    )


class Watch:
    """Counts the sessions of all workers again and again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.most = 0
        """All of them at once."""
        self.most_of: Counter[str] = Counter()
        """Of each worker."""

    async def run(self, stop: asyncio.Event) -> None:
        """Count until told to stop."""
        connection = await asyncpg.connect(self._url, timeout=10)
        try:
            while not stop.is_set():
                found = await sessions(connection)
                self.most = max(self.most, found.total())
                self.most_of |= found
                await asyncio.sleep(0.01)
        finally:
            await connection.close()


async def sessions(connection: "asyncpg.Connection[asyncpg.Record]") -> Counter[str]:
    """Return how many sessions each worker has."""
    rows = await connection.fetch(
        "SELECT application_name AS name, count(*) AS count FROM pg_stat_activity"
        f" WHERE datname = current_database() AND application_name LIKE '{NAME}%' GROUP BY 1"
    )
    return Counter({row["name"]: row["count"] for row in rows})
