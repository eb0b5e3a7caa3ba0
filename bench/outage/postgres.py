"""A Postgres that can be taken away: killed, hung, and brought back."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from bench import machine, servers
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs

_GONE_TIMEOUT_S: Final = 10.0

clock = time.perf_counter


class Postgres:
    """A temporary cluster with durable default settings. Its methods may be called in a thread."""

    def __init__(self, cluster: Cluster, cores: frozenset[int]) -> None:
        self._cluster = cluster
        self._cores = cores
        self._victims: list[psutil.Process] = []
        """Who may not have quite gone yet."""

    @property
    def url(self) -> str:
        """Where its database is."""
        return self._cluster.url(servers.DATABASE)

    def create(self) -> None:
        """Make and start it, with an empty database."""
        with machine.pinned(self._cores):
            self._cluster.create()
        self.start()
        self._cluster.create_database(servers.DATABASE)

    def start(self) -> float:
        """Start it and wait until it takes connections; return when the start was asked for."""
        self.wait_until_gone()
        begun_s = clock()
        with machine.pinned(self._cores):
            self._cluster.start()
        return begun_s

    def kill(self) -> float:
        """Kill every process of it (SIGKILL); return when that began."""
        self._victims = machine.processes_of(self._cluster)
        return _signal(self._victims, signal.SIGKILL)

    def wait_until_gone(self) -> None:
        """Wait for what was killed: asking for that takes the senders' time."""
        psutil.wait_procs(self._victims, _GONE_TIMEOUT_S)

    def hang(self) -> float:
        """Stop every process of it (SIGSTOP), the postmaster first; return when that began."""
        return _signal(machine.processes_of(self._cluster), signal.SIGSTOP)

    def resume(self) -> float:
        """Let it go on after it hung; return when that began."""
        return _signal(machine.processes_of(self._cluster), signal.SIGCONT)


@contextmanager
def running(cores: frozenset[int]) -> Iterator[Postgres]:
    """Run one on these cores; it and its directory are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="nonito-bench-"))
    postgres = Postgres(Cluster(directory, find_programs()), cores)
    try:
        postgres.create()
        yield postgres
    finally:
        postgres.resume()
        postgres.kill()
        postgres.wait_until_gone()
        shutil.rmtree(directory, ignore_errors=True)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> float:
    """Send a signal to each; return when that began."""
    begun_s = clock()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    return begun_s
