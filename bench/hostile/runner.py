"""What misbehaving peers cost a bystander, the sender of good events, and the server's memory.

For each kind a new server, and on the other cores three processes: a bystander that asks for
`/healthz` a hundred times a second, a sender of as many events, and the peers of `process`.
Bystander and sender are the load client in its open loop, so a stall of the server shows in every
request that it delayed. Latencies count from the moment at which the peers begin.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe
from typing import Any, TypeVar

from bench import machine, servers
from bench.errors import BenchError
from bench.hostile.impact import SETTINGS, Impact
from bench.hostile.kinds import KINDS
from bench.hostile.peer import Deeds
from bench.hostile.process import Order, misbehave, raise_file_limit
from bench.load import http, payloads
from bench.load.plan import Plan, Stats
from bench.load.worker import work
from bench.servers import Endpoint

_RATE = 100.0
_CONNECTIONS = 8
"""Of the sender: on a single one each would wait for the one before it."""
_WARM_UP_S = 0.5
_START_DELAY_S = 0.05
_DRAIN_S = 10.0
_GRACE_S = 30.0
_SAMPLE_S = 0.1

T = TypeVar("T")


def choose(only: Sequence[str]) -> list[str]:
    """Return the kinds that are asked for, all without an argument; raise BenchError."""
    for kind in only:
        if kind not in KINDS:
            raise BenchError(f"--only {kind}: must be one of {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in only or not only]


def measure(
    kinds: Sequence[str], seconds: float, workers: int, on_kind: Callable[[str], None]
) -> Iterator[Impact]:
    """Measure kinds in turn on a temporary Postgres, the peers of each for `seconds`."""
    raise_file_limit()
    cores = machine.split_cores(workers)
    settings = SETTINGS | {servers.WORKERS: workers}
    with servers.temporary_postgres(cores.others) as database_url:
        key = servers.make_key(database_url)
        others_key = servers.make_key(database_url, "neighbour")
        for kind in kinds:
            on_kind(kind)
            with servers.ours(database_url, cores.server, settings) as endpoint:
                yield measure_kind(kind, endpoint, key, seconds, workers, others_key)


def measure_kind(
    kind: str,
    endpoint: Endpoint,
    key: str,
    seconds: float,
    workers: int = 1,
    others_key: str | None = None,
) -> Impact:
    """Let the peers of a kind loose on a server, and watch.

    The sender's key may be another app's than the peers' is.
    """
    cores, address = machine.split_cores(workers).others, f"{endpoint.host}:{endpoint.port}"
    request = http.request(address, key, payloads.example().body)
    others = http.request(address, others_key or key, payloads.example().body)
    ask = f"GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    plan = Plan(
        endpoint.host,
        endpoint.port,
        [ask],
        connections=1,
        rate=_RATE,
        warm_up_s=_WARM_UP_S,
        seconds=seconds,
        slice_s=seconds,
        drain_s=_DRAIN_S,
        cores=cores,
    )
    order = Order(kind, endpoint.host, endpoint.port, request, seconds, cores)
    with ExitStack() as stack:
        started = [
            stack.enter_context(_process(task, argument))
            for task, argument in (
                (work, plan),
                (work, replace(plan, requests=[others], connections=_CONNECTIONS)),
                (misbehave, order),
            )
        ]
        return _watch(kind, endpoint, seconds, started)


def _watch(kind: str, endpoint: Endpoint, seconds: float, started: list[Pipe]) -> Impact:
    for pipe in started:
        _wait_for(pipe, object)
    bystander, sender, peers = started
    start_s = time.perf_counter() + _START_DELAY_S
    bystander.send(start_s)
    sender.send(start_s)
    time.sleep(max(0.0, start_s + _WARM_UP_S - time.perf_counter()))
    before_bytes = _rss_bytes(endpoint)
    peers.send(None)
    peak_bytes = _peak_bytes(endpoint, seconds)
    watched, served = (_wait_for(pipe, Stats) for pipe in (bystander, sender))
    deeds = _wait_for(peers, Deeds)
    if KINDS[kind].peers and not deeds.connections:
        raise BenchError(f"{kind}: no peer could connect")
    for each in (watched, served):
        if each.failure:
            raise BenchError(f"{kind}: {each.failure}")
    return Impact(
        kind,
        KINDS[kind].peers,
        deeds,
        watched.latencies.latency_ms(),
        served.latencies.latency_ms(),
        dict(watched.totals),
        dict(served.totals),
        watched.lost + watched.unsent + served.lost + served.unsent,
        before_bytes,
        peak_bytes - before_bytes,
    )


@contextmanager
def _process(task: Callable[[Any, Pipe], None], argument: Plan | Order) -> Iterator[Pipe]:
    """Run a task in a process of its own, forked from a clean one."""
    context = multiprocessing.get_context("forkserver")
    pipe, theirs = context.Pipe()
    process = context.Process(target=task, args=(argument, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield pipe
    finally:
        process.join(1)
        if process.is_alive():
            process.kill()
            process.join()
        pipe.close()


def _wait_for(pipe: Pipe, kind: type[T]) -> T:
    """Return the next message of a kind; raise BenchError when none comes."""
    try:
        while pipe.poll(_GRACE_S):
            message = pipe.recv()
            if isinstance(message, kind):
                return message
    except EOFError:
        pass
    raise BenchError("a process of the harness died or hung; see above")


def _rss_bytes(endpoint: Endpoint) -> int:
    usage = machine.usage(endpoint.pid)
    if usage is None:
        raise BenchError("the server died")
    return usage.rss_bytes


def _peak_bytes(endpoint: Endpoint, seconds: float) -> int:
    """Return the most memory that the server had at any look in this time."""
    peak_bytes, end_s = 0, time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        peak_bytes = max(peak_bytes, _rss_bytes(endpoint))
        time.sleep(_SAMPLE_S)
    return peak_bytes
