"""The command `idle`: what one sender waits for, beside what Postgres alone takes for the row.

Round after round, one connection sends one POST after the other; then a bare COPY of one row, on a
connection of the server's own kind, commits one row after the other from the server's core. Ids
differ, and every row is accounted for: a run whose table has fewer or more is void.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import uvloop

from bench import console, machine, servers, targets
from bench.console import Console
from bench.errors import BenchError
from bench.load import database, payloads, pool
from bench.load.histogram import Histogram
from bench.load.payloads import Payload
from bench.load.pool import Job
from bench.targets import Bound
from ingest.app.database import make_postgres
from ingest.config import Config
from ingest.events import copy_format
from ingest.store.postgres import Connection

RATIO = Bound("at most", 1.5)
_WARM_UP_S = 0.2
_COMMIT_TIMEOUT_S = 30.0
_PLACEHOLDER = b"\xee" * 16
_NO_TIME = copy_format.tail(0)
_VARIANT = 2 << 62

clock = time.perf_counter


@click.command()
@click.option("--rounds", default=20, type=click.IntRange(1), help="Interleaved; medians count.")
@click.option("--seconds", default=0.5, type=click.FloatRange(0.05), help="Of each side of each.")
@servers.workers_option
@console.json_option
def idle(*, rounds: int, seconds: float, workers: int, json_path: Path | None) -> None:
    """Measure what one sender waits for on an idle server, beside a COPY of one row alone."""
    screen = console.make()
    with console.progress(screen, "measuring", rounds) as update:
        found = measure(rounds, seconds, workers, lambda: update(advance=1))
    show(screen, found)
    if json_path is not None:
        console.write_json(json_path, found.as_json())
    if found.void:
        sys.exit(console.VOID_EXIT_CODE)


class Round(msgspec.Struct, frozen=True):
    """Both sides, measured one after the other."""

    post_ms: dict[str, float]
    """Latencies: p50, p90, p99, p99.9, max."""
    copy_ms: dict[str, float]
    posts: int
    """How many were measured."""
    copies: int

    @property
    def ratio(self) -> float:
        """Return the p50 of a POST divided by that of a COPY."""
        return self.post_ms["p50"] / self.copy_ms["p50"]


class IdleResult(msgspec.Struct, frozen=True):
    """What all rounds found."""

    rounds: list[Round]
    acknowledged: int
    """Events, those of the warm-ups included."""
    copied: int
    stored: int
    faults: list[str]
    """Answers that were no 200, and requests without one."""
    workers: int = 1
    """Of the server; the one sender is one worker's."""

    @property
    def ratio(self) -> float:
        """Return the median over the rounds."""
        return statistics.median(each.ratio for each in self.rounds)

    @property
    def is_reached(self) -> bool:
        """Return whether the ratio is within its endpoint."""
        return not self.void and RATIO.admits(self.ratio)

    @property
    def void(self) -> list[str]:
        """Return why this doesn't count; empty when it does."""
        if self.stored == self.acknowledged + self.copied:
            return self.faults
        counts = f"{self.acknowledged} acknowledged, {self.copied} copied, {self.stored} rows"
        return [*self.faults, counts]

    def median_ms(self, side: str, percentile: str) -> float:
        """Return the median over the rounds of a percentile of `post_ms` or `copy_ms`."""
        values: list[float] = [getattr(each, side)[percentile] for each in self.rounds]
        return statistics.median(values)

    def as_json(self) -> dict[str, Any]:
        """Return everything; latencies in milliseconds."""
        return {
            "machine": machine.describe(),
            "ratio": self.ratio,
            "ratio_max": RATIO.value,
            "is_reached": self.is_reached,
            "void": self.void,
            **msgspec.to_builtins(self),
        }


class RowDocument:
    """A COPY document of one row, laid out ahead, whose id can be renewed."""

    def __init__(self, app_id: int, payload: Payload) -> None:
        name, params = payload.name.encode(), payload.params.encode()
        one = copy_format.row(copy_format.row_head(app_id), _PLACEHOLDER, name, params, _NO_TIME)
        self._bytes = bytearray(copy_format.document([one]))
        self._place = self._bytes.index(_PLACEHOLDER)
        self._number = 0

    def renew(self) -> memoryview:
        """Return the document with a UUIDv7 of now that it never had before."""
        self._number += 1
        unix_ms = (time.time_ns() // 1_000_000).to_bytes(6, "big")
        renewed = unix_ms + b"\x70\0" + (_VARIANT | self._number).to_bytes(8, "big")
        self._bytes[self._place : self._place + len(renewed)] = renewed
        return memoryview(self._bytes)


def measure(rounds: int, seconds: float, workers: int, on_round: Callable[[], None]) -> IdleResult:
    """Measure on a temporary Postgres; each side of a round takes `seconds`."""
    cores = machine.split_cores(workers)
    with servers.temporary_postgres(cores.others) as database_url:
        key = servers.make_key(database_url)
        with servers.ours(database_url, cores.server, {servers.WORKERS: workers}) as endpoint:
            job = Job(
                endpoint,
                key,
                [payloads.example()],
                connections=1,
                warm_up_s=_WARM_UP_S,
                seconds=seconds,
                cores=cores.others,
                workers=workers,
            )
            return _measure(database_url, job, rounds, on_round)


def show(screen: Console, found: IdleResult) -> None:
    """Print both sides, the ratio and the verdict, or why there is none."""
    table = console.bare_table(("medians over rounds",), ("p50 ms", "p99 ms", "measured"))
    for label, side, counted in (
        ("POST, one connection", "post_ms", sum(each.posts for each in found.rounds)),
        ("COPY of one row alone", "copy_ms", sum(each.copies for each in found.rounds)),
    ):
        cells = (f"{found.median_ms(side, name):.3f}" for name in ("p50", "p99"))
        table.add_row(label, *cells, f"{counted:,}")
    screen.print(table)
    console.show_void(screen, found.void)
    if not found.void:
        screen.print(_verdict(found))


def _verdict(found: IdleResult) -> str:
    ratios = sorted(each.ratio for each in found.rounds)
    verdict = targets.shown(is_reached=found.is_reached)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return f"POST / COPY, p50: {found.ratio:.2f} ({spread}), {RATIO}: {verdict}"


def _measure(database_url: str, job: Job, rounds: int, on_round: Callable[[], None]) -> IdleResult:
    database.clear(database_url)
    measured: list[Round] = []
    acknowledged, copied, faults = 0, 0, list[str]()
    for _ in range(rounds):
        stats = pool.run(job, lambda *_: None).stats
        acknowledged += stats.successes
        faults += stats.faults
        copies, copied_now = _copy(database_url, job.seconds)
        copied += copied_now
        measured.append(_round(stats.latencies, copies))
        on_round()
    stored = database.count(database_url)
    return IdleResult(measured, acknowledged, copied, stored, faults, job.workers or 1)


def _round(posts: Histogram, copies: Histogram) -> Round:
    if not posts.count or not copies.count:
        raise BenchError("a round without an answer; give it more --seconds")
    return Round(posts.latency_ms(), copies.latency_ms(), posts.count, copies.count)


def _copy(database_url: str, seconds: float) -> tuple[Histogram, int]:
    """Copy row after row from the server's core; return latencies, and the rows with warm-up."""

    async def work() -> tuple[Histogram, int]:
        async with make_postgres(Config(), database_url).session() as connection:
            app_id = await connection.fetchval("SELECT min(id) FROM apps")
            document = RowDocument(app_id, payloads.example())
            warm_up = await _copy_for(connection, document, _WARM_UP_S)
            took_s = await _copy_for(connection, document, seconds)
        latencies = Histogram()
        latencies.record((np.array(took_s) * 1e9).astype(np.int64))
        return latencies, len(warm_up) + len(took_s)

    with (
        machine.pinned(machine.split_cores().server),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(work())


async def _copy_for(connection: Connection, document: RowDocument, seconds: float) -> list[float]:
    """Commit one row after the other; return how long each took, in seconds."""
    took_s = []
    end_s = clock() + seconds
    while (begin_s := clock()) < end_s:
        tag = await connection.copy_to_table(
            copy_format.TABLE,
            source=document.renew(),  # type: ignore[arg-type] # the stubs leave buffers out
            columns=copy_format.COLUMNS,
            format="binary",
            timeout=_COMMIT_TIMEOUT_S,
        )
        took_s.append(clock() - begin_s)
        if tag != "COPY 1":
            raise BenchError(f"{tag} instead of COPY 1")
    return took_s
