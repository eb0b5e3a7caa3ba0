"""The processes of a server, as the system sees them: memory and open files, added up.

Memory that they share counts for each of them. CPU is what each has published, so that of those
that have ended it stays; the supervisor's, which publishes nothing, is read as it is.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ingest.share.segment import Reading

_CPU: Final = "process_cpu_seconds"
_MEMORY: Final = "process_resident_memory_bytes"
_START: Final = "process_start_time_seconds"
_SUMMED: Final = {
    _MEMORY: "Resident memory of all processes, in bytes",
    "process_virtual_memory_bytes": "Virtual memory of all processes, in bytes",
    "process_open_fds": "Open files of all processes",
    "process_max_fds": "As many may all of them have open",
}


class Processes:
    """Reads /proc: where there is none, only of CPU and the start something is told."""

    def __init__(self, supervisor: int, start_s: float) -> None:
        """Know the supervisor by its number, and when it started the server."""
        self._supervisor = supervisor
        self._start_s = start_s
        self._pid = 0
        self._collector = ProcessCollector(pid=lambda: self._pid, registry=None)

    def collect(self, reading: Reading, cpu_us: int) -> Iterable[Metric]:
        """Yield what is so of all live processes; `cpu_us` is what all have published."""
        workers = {each.pid for each in reading.live if each.pid}
        sums, cpu_s = Counter[str](), cpu_us / 1_000_000
        for pid in workers | {self._supervisor}:
            found = self._read(pid)
            cpu_s += found.get(_CPU, 0) if pid not in workers else 0
            sums.update({name: int(found.get(name, 0)) for name in _SUMMED})
        for name, text in _SUMMED.items():
            if sums[name]:
                yield GaugeMetricFamily(name, text, value=sums[name])
        yield CounterMetricFamily("process_cpu_seconds", "CPU of all processes", value=cpu_s)
        yield GaugeMetricFamily(_START, "When the server started", value=self._start_s)

    def _read(self, pid: int) -> dict[str, float]:
        self._pid = pid
        return _values(self._collector)


class Look(NamedTuple):
    """One process, as the system sees it."""

    memory_bytes: int
    began_s: float
    """As a Unix time."""


def look(pid: int) -> Look | None:
    """Return what is known of a process; None if that is nothing."""
    found = _values(ProcessCollector(pid=lambda: pid, registry=None))
    memory_bytes, began_s = found.get(_MEMORY), found.get(_START)
    if memory_bytes is None or began_s is None:
        return None
    return Look(int(memory_bytes), began_s)


def _values(collector: ProcessCollector) -> dict[str, float]:
    """Return by name what is known of a process; nothing if it has ended."""
    return {each.name: each.samples[0].value for each in collector.collect()}
