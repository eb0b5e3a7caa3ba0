"""One server, 64 senders in a closed loop, and meanwhile a month goes, and then some rows."""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray

from bench import machine, servers
from bench.errors import BenchError
from bench.load import http, payloads
from bench.load.client import Load, clock
from bench.load.histogram import Histogram
from bench.load.tally import Tally
from bench.retention import filling
from bench.retention.filling import Filled
from bench.targets import Bound, Target

P99_MS_MAX: Final = Bound("at most", 100.0)
_RETAIN_DAYS: Final = 90
_AROUND_S: Final = 1.0
"""So long before a partition is seen to be gone its going is thought to begin."""
_AFTER_S: Final = 5.0
_TIMEOUT_S: Final = 600.0
_OK: Final = 200

Say = Callable[[str], None]


@dataclass(frozen=True)
class RetentionPlan:
    """How much of everything."""

    connections: int = 64
    events: int = 20_000_000
    """Of the month that goes whole."""
    rows: int = 200_000
    """That go row by row."""


class RetentionResult(msgspec.Struct, frozen=True):
    """What senders saw; latencies are p50, p90, p99, p99.9 and max in ms."""

    connections: int
    events: int
    rows: int
    partition_bytes: int
    dropped_after_s: float
    """From the first request on."""
    rows_per_s: float
    """That went one by one."""
    load_average: float
    """Of the machine when the senders began."""
    before_ms: dict[str, float]
    going_ms: dict[str, float]
    """From a second before the partition was gone until five behind it."""
    deleting_ms: dict[str, float]
    """While rows went."""
    statuses: dict[int, int]
    unanswered: int

    @property
    def targets(self) -> list[Target]:
        """Return every target and what came of it."""
        others = sum(n for status, n in self.statuses.items() if status != _OK) + self.unanswered
        return [
            _quick("p99 while the month goes", self.going_ms["p99"]),
            _quick("p99 while rows go", self.deleting_ms["p99"]),
            Target("answers but 200", f"{others:,}", others == 0, "none"),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {"machine": machine.describe(), **msgspec.to_builtins(self, str_keys=True)}


def measure(plan: RetentionPlan, say: Say) -> RetentionResult:
    """Measure on a temporary Postgres; raise BenchError."""
    cores = machine.split_cores()
    with servers.temporary_postgres(cores.others) as url:
        key = servers.make_key(url)
        filled = uvloop.run(_fill(url, plan, say))
        settings = {"events.retain_days": _RETAIN_DAYS}
        with (
            servers.ours(url, cores.server, settings) as endpoint,
            machine.pinned(cores.others),
        ):
            say("sending")
            request = http.request(f"{endpoint.host}:{endpoint.port}", key, payloads.example().body)
            return uvloop.run(_send(url, (endpoint.host, endpoint.port), request, plan, filled))


async def _fill(url: str, plan: RetentionPlan, say: Say) -> Filled:
    done = 0

    def tell(events: int) -> None:
        nonlocal done
        done += events
        say(f"storing {done:,} of {plan.events + plan.rows:,}")

    return await filling.fill(url, plan.events, plan.rows, _RETAIN_DAYS, tell)


async def _send(
    url: str, address: tuple[str, int], request: bytes, plan: RetentionPlan, filled: Filled
) -> RetentionResult:
    load_average, *_ = os.getloadavg()
    tally = Tally(keeps_ids=False)
    tally.measuring_since_s = 0.0
    load = Load(address, [request], 0.0, tally)
    gc.disable()  # a collection would count as the server's time
    try:
        await load.connect(plan.connections)
        began_s = clock()
        load.start(began_s, float("inf"))
        await filling.wait_until_gone(url, filled.partition, _TIMEOUT_S)
        gone_s = clock()
        await filling.wait_until_deleted(url, _TIMEOUT_S)
        deleted_s = clock()
        await asyncio.sleep(max(0.0, gone_s + _AFTER_S - clock()))
        await load.finish(10.0)
    except TimeoutError:
        raise BenchError(f"nothing has gone within {_TIMEOUT_S:g} s") from None
    finally:
        load.close()
        gc.enable()
    due_s, took_s = np.array(tally.due_s), np.array(tally.took_s)
    answered = sum(each.answers for each in load.connections)
    others = Counter(tally.other_statuses)
    return RetentionResult(
        connections=plan.connections,
        events=plan.events,
        rows=plan.rows,
        partition_bytes=filled.bytes,
        dropped_after_s=gone_s - began_s,
        rows_per_s=plan.rows / max(deleted_s - gone_s, 0.001),
        load_average=load_average,
        before_ms=_latency_ms(took_s[due_s + took_s < gone_s - _AROUND_S]),
        going_ms=_latency_ms(
            took_s[(due_s + took_s >= gone_s - _AROUND_S) & (due_s < gone_s + _AFTER_S)]
        ),
        deleting_ms=_latency_ms(took_s[(due_s >= gone_s) & (due_s < max(deleted_s, gone_s + 1))]),
        statuses=dict(others + Counter({_OK: answered - len(tally.other_statuses)})),
        unanswered=tally.lost + len(load.waiting_s()),
    )


def _latency_ms(took_s: NDArray[np.float64]) -> dict[str, float]:
    histogram = Histogram()
    histogram.record((took_s * 1e9).astype(np.int64))
    return histogram.latency_ms()


def _quick(name: str, seen_ms: float) -> Target:
    return Target(name, f"{seen_ms:,.1f} ms", P99_MS_MAX.admits(seen_ms), f"{P99_MS_MAX} ms")
