"""The command `alloc`: what a request leaves behind in the server's memory, and what it peaks at.

The server runs in a process of `bench.costs.alloc_server`, which counts on command. Loads run
before and between the counts, so that caches are full and what is counted is requests.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from bench import console, machine, servers
from bench.console import Console
from bench.errors import BenchError
from bench.load import payloads, pool
from bench.load.pool import Job
from bench.servers import Endpoint


@click.command()
@click.option("--seconds", default=3.0, type=click.FloatRange(0.1), help="Of each load.")
@click.option("--connections", default=64, type=click.IntRange(1), help="Of each load.")
@console.json_option
def alloc(*, seconds: float, connections: int, json_path: Path | None) -> None:
    """Count what a request allocates, leaves behind and peaks at, in each lane."""
    screen = console.make()
    with screen.status("counting"):
        found = measure(seconds, connections)
    show(screen, found)
    if json_path is not None:
        lanes_found = msgspec.to_builtins(found)
        console.write_json(json_path, {"machine": machine.describe(), "lanes": lanes_found})


class AllocationCounts(msgspec.Struct, frozen=True):
    """What the server counted, on command."""

    blocks: int
    """Allocated blocks of memory (sys.getallocatedblocks), as they are."""
    blocks_collected: int
    """Allocated blocks after a full collection: what reference cycles held is gone."""
    collections: list[int]
    """Garbage collections since the start, by generation; those of this count left out."""
    traced_bytes: int
    """Memory that tracemalloc knows of; 0 while it is off."""
    peak_bytes: int
    """The most of it since the last count."""


class Steady(msgspec.Struct, frozen=True):
    """One lane in steady state."""

    lane: str
    requests: int
    net_blocks_per_request: float
    """Blocks that a request leaves behind for good: about 0, or memory grows."""
    cyclic_blocks_per_request: float
    """Blocks that only the garbage collector frees: 0 when there are no reference cycles."""
    collections_per_100k: list[float]
    """Garbage collections by generation for 100,000 requests."""
    peak_bytes_alone: float
    """The memory that one request on an idle server takes at its peak."""
    peak_bytes_each: float
    """The memory for each connection at its peak, when all of them have a request on its way."""


class CountingServer:
    """A server that counts on command: one line for one line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def count(self) -> AllocationCounts:
        """Return what the server counts now, and start its peak anew."""
        return msgspec.json.decode(self._ask(b"count"), type=AllocationCounts)

    def trace(self) -> None:
        """Switch tracemalloc on, which makes the server several times slower."""
        self._ask(b"trace")

    def _ask(self, command: bytes) -> bytes:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(command + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchError("the counting server died")
        return answer


def lanes() -> dict[str, Mapping[str, object]]:
    """Return the settings of each lane by its name."""
    if not servers.has_fast_lane():
        return {"aiohttp lane": {}}
    return {"fast lane": {servers.FAST_LANE: True}, "aiohttp lane": {servers.FAST_LANE: False}}


def measure(seconds: float, connections: int) -> list[Steady]:
    """Measure each lane on a temporary Postgres; `seconds` is how long each of its loads runs."""
    cores = machine.split_cores()
    with servers.temporary_postgres(cores.others) as database_url:
        return [measure_lane(database_url, lane, seconds, connections) for lane in lanes()]


def measure_lane(database_url: str, lane: str, seconds: float, connections: int) -> Steady:
    """Measure one lane on a database."""
    cores, key = machine.split_cores(), servers.make_key(database_url)
    with _counting(database_url, cores.server, lanes()[lane]) as (endpoint, server):
        job = Job(
            endpoint,
            key,
            [payloads.example()],
            connections=connections,
            warm_up_s=0.0,
            seconds=seconds,
            cores=cores.others,
        )
        return _measure(lane, job, server)


def show(screen: Console, found: list[Steady]) -> None:
    """Print a column for each lane."""
    table = console.bare_table(("per request",), [each.lane for each in found])
    rows: dict[str, list[str]] = {
        "requests counted": [f"{each.requests:,}" for each in found],
        "blocks left for good": [f"{each.net_blocks_per_request:.4f}" for each in found],
        "blocks left in cycles": [f"{each.cyclic_blocks_per_request:.4f}" for each in found],
        "collections per 100,000, by generation": [
            " / ".join(f"{n:.1f}" for n in each.collections_per_100k) for each in found
        ],
        "peak bytes, alone": [f"{each.peak_bytes_alone:,.0f}" for each in found],
        "peak bytes, under load": [f"{each.peak_bytes_each:,.0f}" for each in found],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    screen.print(table)


def _measure(lane: str, job: Job, server: CountingServer) -> Steady:
    alone = replace(job, connections=1)
    _load(job)
    before = server.count()
    requests = _load(job)
    after = server.count()
    server.trace()
    peaks = [_peak(each, server) for each in (alone, job)]
    return Steady(
        lane=lane,
        requests=requests,
        net_blocks_per_request=(after.blocks_collected - before.blocks_collected) / requests,
        cyclic_blocks_per_request=(after.blocks - after.blocks_collected) / requests,
        collections_per_100k=[
            (end - start) / requests * 100_000
            for start, end in zip(before.collections, after.collections, strict=True)
        ],
        peak_bytes_alone=peaks[0],
        peak_bytes_each=peaks[1],
    )


def _peak(job: Job, server: CountingServer) -> float:
    """Return how much the peak rises above what is there anyway, per connection."""
    _load(job)
    quiet = server.count()
    _load(job)
    return (server.count().peak_bytes - quiet.traced_bytes) / job.connections


def _load(job: Job) -> int:
    """Run a load and return how many requests were answered."""
    run = pool.run(job, lambda *_: None)
    if set(run.stats.totals) != {200}:
        raise BenchError(f"the server did not answer with 200 only: {dict(run.stats.totals)}")
    return run.stats.totals.total()


@contextmanager
def _counting(
    database_url: str, cores: frozenset[int], settings: Mapping[str, object]
) -> Iterator[tuple[Endpoint, CountingServer]]:
    arguments = ("-m", "bench.costs.alloc_server", database_url)
    with servers.serving(arguments, cores, settings) as (endpoint, process):
        yield endpoint, CountingServer(process)
