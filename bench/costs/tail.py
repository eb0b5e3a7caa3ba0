"""The command `tail`: whether anybody waits much longer than a commit takes.

Round after round, a closed loop of single POSTs loads the server; directly after it, bare COPYs go
to the same table, of as many rows, as often and on as many connections as the server's own in that
round: first beside a stand-in that takes from Postgres's core what the load client took, then with
that core to Postgres alone. The p99 of the answers is held against the p99 of the former, which is
like for like; the latter is shown.

The load client is the harness's own because wrk 4 corrects for coordinated omission: a 15 ms stall
counts about ten times a connection, so its p99 is the share of time stalled. Here each answer
counts once, with the time from its request to it.
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from bench import console, machine, metrics, servers, targets
from bench.console import Console
from bench.costs import pacer
from bench.costs.pacer import Copied, Pace
from bench.errors import BenchError
from bench.load import database, neighbour, payloads, pool
from bench.load.histogram import Histogram
from bench.load.plan import Stats
from bench.load.pool import Job
from bench.targets import Bound
from ingest.config import Config

RATIO = Bound("at most", 2.5)
_WARM_UP_S = 0.5
_SHARE_MAX = 0.95
_SHOWN = ("p50", "p99", "p99.9", "max")


@click.command()
@click.option("--rounds", default=6, type=click.IntRange(1), help="Interleaved; medians count.")
@click.option("--seconds", default=4.0, type=click.FloatRange(0.1), help="Of each side of each.")
@click.option("--connections", default=64, type=click.IntRange(1, 20_000), help="How many.")
@click.option("--processes", default=1, type=click.IntRange(1, 64), help="Of the load client.")
@console.json_option
def tail(
    *, rounds: int, seconds: float, connections: int, processes: int, json_path: Path | None
) -> None:
    """Measure how long the slowest answers of a busy server take, beside its COPYs alone."""
    screen = console.make()
    with console.progress(screen, "measuring", rounds) as update:
        found = measure(rounds, seconds, connections, processes, lambda: update(advance=1))
    show(screen, found)
    if json_path is not None:
        console.write_json(json_path, found.as_json())
    if found.void:
        sys.exit(console.VOID_EXIT_CODE)


class Round(msgspec.Struct, frozen=True):
    """Both sides, measured one after the other."""

    answer_ms: dict[str, float]
    """Latencies of answers: p50, p90, p99, p99.9, max."""
    copy_ms: dict[str, float]
    """Latencies of the COPYs beside a stand-in for the load client."""
    alone_ms: dict[str, float]
    """Latencies of the COPYs with nobody beside Postgres."""
    answers: int
    """How many were measured."""
    copies: int
    events_per_s: float
    rows: int
    """Of each bare COPY: what the server's had on average."""
    server_copies_per_s: float
    """The pace for the bare ones."""
    copies_per_s: float
    """What they kept of it."""
    client_us: float
    """CPU of the load client for each request."""
    client_share: float
    """How much of a core each of its processes used."""

    @property
    def ratio(self) -> float:
        """Return the p99 of the answers divided by that of the COPYs."""
        return self.answer_ms["p99"] / self.copy_ms["p99"]


class TailResult(msgspec.Struct, frozen=True):
    """What all rounds found."""

    connections: int
    processes: int
    """Of the load client."""
    rounds: list[Round]
    void: list[str]
    """Why this doesn't count; empty when it does."""

    @property
    def ratio(self) -> float:
        """Return the median over the rounds."""
        return self.median(lambda each: each.ratio)

    @property
    def is_reached(self) -> bool:
        """Return whether the ratio is within its endpoint."""
        return not self.void and RATIO.admits(self.ratio)

    def median(self, figure: Callable[[Round], float]) -> float:
        """Return the median of a figure over the rounds."""
        return statistics.median(map(figure, self.rounds))

    def as_json(self) -> dict[str, Any]:
        """Return everything; latencies in milliseconds."""
        return {
            "machine": machine.describe(),
            "ratio": self.ratio,
            "ratios": [each.ratio for each in self.rounds],
            "ratio_max": RATIO.value,
            "is_reached": self.is_reached,
            **msgspec.to_builtins(self),
        }


def measure(
    rounds: int, seconds: float, connections: int, processes: int, on_round: Callable[[], None]
) -> TailResult:
    """Measure on a temporary Postgres; each side of a round takes `seconds`."""
    cores = machine.split_cores()
    with servers.temporary_postgres(cores.others) as database_url:
        key = servers.make_key(database_url)
        with servers.ours(database_url, cores.server, {}) as endpoint:
            job = Job(
                endpoint,
                key,
                [payloads.example()],
                connections=connections,
                warm_up_s=_WARM_UP_S,
                seconds=seconds,
                processes=processes,
                cores=cores.others,
            )
            return _Rounds(database_url, job).run(rounds, on_round)


class _Rounds:
    """Rounds on one server, and what is amiss in them."""

    def __init__(self, database_url: str, job: Job) -> None:
        self._url = database_url
        self._job = job
        self._void: list[str] = []

    def run(self, rounds: int, on_round: Callable[[], None]) -> TailResult:
        """Return what all rounds found."""
        found = []
        for _ in range(rounds):
            found.append(self._round())
            on_round()
        return TailResult(self._job.connections, self._job.processes, found, self._void)

    def _round(self) -> Round:
        before = self._batches()
        stats = self._load()
        pace = self._pace(before, self._batches())
        share = _client_share(self._job, stats)
        with neighbour.beside(self._job.cores, share, pace.per_s):
            copied = self._copy(pace)
        return _round(self._job, stats, pace, copied, self._copy(pace))

    def _batches(self) -> tuple[float, float]:
        """Return how many COPYs the server has committed so far, and events in them."""
        endpoint = self._job.endpoint
        samples = metrics.scrape(endpoint.host, endpoint.port)
        return samples["batch_events_count"], samples["batch_events_sum"]

    def _load(self) -> Stats:
        """Load the server; a 200 for each request, and a row for each 200."""
        database.clear(self._url)
        stats = pool.run(self._job, lambda *_: None).stats
        self._void += stats.faults
        self._count(stats.successes, "acknowledged")
        return stats

    def _pace(self, before: tuple[float, float], after: tuple[float, float]) -> Pace:
        """Return the server's own: the size of its COPYs, and how many it did a second."""
        job = self._job
        copies, events = after[0] - before[0], after[1] - before[1]
        if not copies:
            raise BenchError("a round without a commit; give it more --seconds")
        return Pace(
            rows=round(events / copies),
            per_s=copies / job.total_s,
            connections=Config().writer.connections,
            warm_up_s=job.warm_up_s,
            seconds=job.seconds,
        )

    def _copy(self, pace: Pace) -> Copied:
        """COPY in the server's place, which is idle meanwhile."""
        database.clear(self._url)
        copied = pacer.copy(self._url, machine.split_cores().server, pace)
        self._count(copied.rows, "copied")
        return copied

    def _count(self, expected: int, what: str) -> None:
        stored = database.count(self._url)
        if stored != expected:
            self._void.append(f"{expected} {what}, {stored} rows")


def _client_share(job: Job, stats: Stats) -> float:
    """Return how much of one core the load client used, on a machine where it shares Postgres's."""
    share = stats.client_cpu_s / stats.window_s if stats.window_s else 0.0
    return min(share, _SHARE_MAX) / max(1, len(job.cores))


def _round(job: Job, stats: Stats, pace: Pace, copied: Copied, alone: Copied) -> Round:
    copies = Histogram.of(copied.latencies)
    if not stats.latencies.count:
        raise BenchError("a round without an answer; give it more --seconds")
    return Round(
        answer_ms=stats.latencies.latency_ms(),
        copy_ms=copies.latency_ms(),
        alone_ms=Histogram.of(alone.latencies).latency_ms(),
        answers=stats.latencies.count,
        copies=copies.count,
        events_per_s=stats.events_per_s,
        rows=pace.rows,
        server_copies_per_s=pace.per_s,
        copies_per_s=copied.per_s,
        client_us=stats.client_us,
        client_share=stats.client_cpu_s / stats.window_s / job.processes,
    )


def show(screen: Console, found: TailResult) -> None:
    """Print both sides, what the client cost, the ratio and the verdict, or why there is none."""
    table = console.bare_table(("medians over rounds",), (*(f"{p} ms" for p in _SHOWN), "measured"))
    rows, per_s = found.median(lambda each: each.rows), found.median(lambda each: each.copies_per_s)
    for label, side, counted in (
        (f"answers, {found.connections} connections", "answer_ms", "answers"),
        (f"COPYs of {rows:.0f} rows, {per_s:,.0f} a second", "copy_ms", "copies"),
        ("the same, nobody beside Postgres", "alone_ms", "copies"),
    ):
        cells = [f"{_median_ms(found, side, percentile):.3f}" for percentile in _SHOWN]
        measured = sum(getattr(each, counted) for each in found.rounds)
        table.add_row(label, *cells, f"{measured:,}")
    screen.print(table)
    screen.print(_client(found))
    console.show_void(screen, found.void)
    if not found.void:
        screen.print(_verdict(found))


def _median_ms(found: TailResult, side: str, percentile: str) -> float:
    return found.median(lambda each: float(getattr(each, side)[percentile]))


def _client(found: TailResult) -> str:
    us, share = (
        found.median(lambda each: each.client_us),
        found.median(lambda each: each.client_share),
    )
    events_per_s = found.median(lambda each: each.events_per_s)
    cost = f"{us:.1f} µs of CPU a request, {share:.0%} of a core for each of its processes"
    return f"{events_per_s:,.0f} events a second; load client: {cost}"


def _verdict(found: TailResult) -> str:
    ratios = sorted(each.ratio for each in found.rounds)
    verdict = targets.shown(is_reached=found.is_reached)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return f"answer / COPY, p99: {found.ratio:.2f} ({spread}), {RATIO}: {verdict}"
