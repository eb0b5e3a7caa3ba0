"""What misbehaving peers cost a bystander, the sender of good events, and the server's memory.

For each kind a new server, and on the other cores three processes: a bystander that asks for
`/healthz` a hundred times a second, a sender of as many events, and the peers of `hostile_peers`.
Bystander and sender are the load client in its open loop, so a stall of the server shows in every
request that it delayed. Latencies count from the moment at which the peers begin.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple, TypeVar

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench import http, machine, payloads, servers
from bench.errors import BenchError
from bench.hostile_peers import KINDS, Deeds, Order, misbehave, raise_file_limit
from bench.plan import Outcome, Plan
from bench.report import latency_ms
from bench.servers import Target
from bench.worker import work

BYSTANDER_P99_MS_MAX = 50.0
RSS_GROWTH_BYTES_MAX = 100_000_000
SETTINGS = {
    "limits.head_timeout_s": 2,
    "limits.body_timeout_s": 2,
    "limits.idle_timeout_s": 3,
}
"""Short enough for five seconds to see them; every other limit has its default."""
_RATE = 100.0
_WARM_UP_S = 0.5
_START_DELAY_S = 0.05
_DRAIN_S = 10.0
_GRACE_S = 30.0
_SAMPLE_S = 0.1
_OK = 200

T = TypeVar("T")


class Verdict(NamedTuple):
    """A target and what came of it."""

    target: str
    measured: str
    is_reached: bool


class Found(msgspec.Struct, frozen=True):
    """What one kind of peer did, and what it cost the others."""

    kind: str
    peers: int
    deeds: Deeds
    bystander_ms: dict[str, float]
    """Latencies of `/healthz`: p50, p90, p99, p99.9, max."""
    sender_ms: dict[str, float]
    """The same of single events, which also wait for Postgres."""
    bystander_statuses: dict[int, int]
    sender_statuses: dict[int, int]
    unanswered: int
    """Requests of bystander and sender that got no answer."""
    rss_before_bytes: int
    rss_growth_bytes: int
    """How far it rose above that while the peers were there, at most."""

    @property
    def verdicts(self) -> list[Verdict]:
        """Return every target of this kind."""
        p99_ms, growth, deeds = self.bystander_ms["p99"], self.rss_growth_bytes, self.deeds
        answers = _shown(self.bystander_statuses), _shown(self.sender_statuses)
        only_200s = {*self.bystander_statuses} == {*self.sender_statuses} == {_OK}
        verdicts = [
            Verdict("bystander's p99 below 50 ms", f"{p99_ms:.1f}", p99_ms < BYSTANDER_P99_MS_MAX),
            Verdict(
                "memory grows by less than 100 MB",
                f"{growth / 1e6:.1f}",
                growth < RSS_GROWTH_BYTES_MAX,
            ),
            Verdict(
                "bystander and sender get 200s only",
                f"{' and '.join(answers)}, {self.unanswered} unanswered",
                only_200s and not self.unanswered,
            ),
        ]
        if self.kind == "half-closers":
            every = 0 < deeds.half_closed == deeds.half_closed_answered
            counts = f"{deeds.half_closed_answered:,} of {deeds.half_closed:,}"
            verdicts.append(Verdict("every half-closer is answered", counts, every))
        return verdicts


def choose(only: Sequence[str]) -> list[str]:
    """Return the kinds that are asked for, all without an argument; raise BenchError."""
    for kind in only:
        if kind not in KINDS:
            raise BenchError(f"--only {kind}: must be one of {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in only or not only]


def measure(
    kinds: Sequence[str], seconds: float, on_kind: Callable[[str], None]
) -> Iterator[Found]:
    """Measure kinds in turn on a temporary Postgres, the peers of each for `seconds`."""
    raise_file_limit()
    cores = machine.split_cores()
    with servers.temporary_postgres(cores.others) as database_url:
        key = servers.make_key(database_url)
        for kind in kinds:
            on_kind(kind)
            with servers.ours(database_url, cores.server, SETTINGS) as target:
                yield measure_kind(kind, target, key, seconds)


def measure_kind(kind: str, target: Target, key: str, seconds: float) -> Found:
    """Let the peers of a kind loose on a server, and watch."""
    cores, address = machine.split_cores().others, f"{target.host}:{target.port}"
    request = http.request(address, key, payloads.example().body)
    ask = f"GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    plan = Plan(
        target.host,
        target.port,
        [ask],
        connections=1,
        rate=_RATE,
        warm_up_s=_WARM_UP_S,
        seconds=seconds,
        slice_s=seconds,
        drain_s=_DRAIN_S,
        cores=cores,
    )
    order = Order(kind, target.host, target.port, request, seconds, cores)
    with ExitStack() as stack:
        started = [
            stack.enter_context(_process(task, argument))
            for task, argument in (
                (work, plan),
                (work, replace(plan, requests=[request])),
                (misbehave, order),
            )
        ]
        return _watch(kind, target, seconds, started)


def _watch(kind: str, target: Target, seconds: float, started: list[Pipe]) -> Found:
    for pipe in started:
        _wait_for(pipe, object)
    bystander, sender, peers = started
    start_s = time.perf_counter() + _START_DELAY_S
    bystander.send(start_s)
    sender.send(start_s)
    time.sleep(max(0.0, start_s + _WARM_UP_S - time.perf_counter()))
    before_bytes = _rss_bytes(target)
    peers.send(None)
    peak_bytes = _peak_bytes(target, seconds)
    watched, served = (_wait_for(pipe, Outcome) for pipe in (bystander, sender))
    deeds = _wait_for(peers, Deeds)
    if KINDS[kind].peers and not deeds.connections:
        raise BenchError(f"{kind}: no peer could connect")
    for each in (watched, served):
        if each.failure:
            raise BenchError(f"{kind}: {each.failure}")
    return Found(
        kind,
        KINDS[kind].peers,
        deeds,
        latency_ms(watched.latencies),
        latency_ms(served.latencies),
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


def _rss_bytes(target: Target) -> int:
    usage = machine.usage(target.pid)
    if usage is None:
        raise BenchError("the server died")
    return usage.rss_bytes


def _peak_bytes(target: Target, seconds: float) -> int:
    """Return the most memory that the server had at any look in this time."""
    peak_bytes, end_s = 0, time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        peak_bytes = max(peak_bytes, _rss_bytes(target))
        time.sleep(_SAMPLE_S)
    return peak_bytes


def as_json(found: Sequence[Found], seconds: float) -> dict[str, Any]:
    """Return everything; latencies in milliseconds."""
    return {
        "machine": machine.describe(),
        "seconds": seconds,
        "settings": SETTINGS,
        "kinds": [
            msgspec.to_builtins(each, str_keys=True)
            | {"verdicts": [verdict._asdict() for verdict in each.verdicts]}
            for each in found
        ],
    }


def show(console: Console, found: Sequence[Found]) -> None:
    """Print a line for each kind, and what missed its target; latencies of `/healthz`."""
    table = Table(title="healthz beside misbehaving peers", box=SIMPLE)
    table.add_column("kind")
    for name in ("peers", "connections", "p50 ms", "p99 ms", "max ms", "sender's", "MB", "grows"):
        table.add_column(name, justify="right")
    for name in ("its answers", "the peers'", ""):
        table.add_column(name)
    for each in found:
        table.add_row(*_cells(each))
    console.print(table)
    for each in found:
        for verdict in each.verdicts:
            if not verdict.is_reached:
                line = f"{each.kind}: {verdict.target}: {verdict.measured}"
                console.print(f"[red]missed[/red] {line}")
            elif verdict.target.startswith("every"):
                console.print(f"{each.kind}: {verdict.target}: {verdict.measured}")


def _cells(each: Found) -> list[str]:
    is_passed = all(verdict.is_reached for verdict in each.verdicts)
    return [
        each.kind,
        f"{each.peers:,}",
        f"{each.deeds.connections:,}",
        *(f"{each.bystander_ms[name]:.2f}" for name in ("p50", "p99", "max")),
        f"{each.sender_ms['p99']:.2f}",
        f"{each.rss_before_bytes / 1e6:.0f}",
        f"{each.rss_growth_bytes / 1e6:+.1f}",
        _shown(each.sender_statuses),
        _shown(each.deeds.statuses),
        "[green]passed" if is_passed else "[red]missed",
    ]


def _shown(statuses: dict[int, int]) -> str:
    return "  ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items())) or "none"
