"""The command `limits`: what an event costs the server more where its app or key has limits.

Single events are posted, the documented example, which the fast lane takes. Round after round all
kinds of senders take turns at one server; the CPU that its worker takes meanwhile is divided by the
requests. A server of another checkout may take the events of a key without limits in turn.
"""

import asyncio
import statistics
import sys
import timeit
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from bench import console, machine, servers, targets
from bench.console import Console
from bench.costs import posts, sender
from bench.errors import BenchError
from bench.load import database, http
from bench.load.database import Session
from bench.load.forms import JSON
from bench.servers import Endpoint
from bench.targets import Bound
from ingest.metering.meter import Allowance, Subject
from ingest.metering.meters import Held, Meters
from ingest.metering.rate_limits import RateLimits
from ingest.share.member import Member
from ingest.store import kept_limits
from ingest.store.tokens import digest

GROWTH: Final = Bound("at most", 1.03)
"""Of an event without limits to one of the other checkout."""
TAKE: Final = Bound("at most", 0.3)
"""Microseconds that a limited event costs more: by itself, in this process."""
WIDE: Final = RateLimits(
    events_per_second=1_000_000,
    events_per_day=10**9,
    bytes_per_second=1 << 40,
    bytes_per_day=1 << 50,
)
CLOSED: Final = RateLimits(events_per_second=1)
_EXAMPLE_BYTES: Final = len(posts.EXAMPLE.body)
_TIMES: Final = 200_000
_REPEATS: Final = 9
_US: Final = 1e6

Costs = dict[str, list[float]]
"""Microseconds of CPU a request by kind, a figure for each round."""


class Kind(NamedTuple):
    """A sender, by what it may send."""

    name: str
    app_limits: RateLimits = RateLimits()
    key_limits: RateLimits = RateLimits()


FREE: Final = Kind("no limits")
OF_APP: Final = Kind("an app's", WIDE)
OF_BOTH: Final = Kind("a key's and its app's", WIDE, WIDE)
REFUSED: Final = Kind("refused", CLOSED)
KINDS: Final = (FREE, OF_APP, OF_BOTH, REFUSED)


@click.command()
@click.option("--rounds", default=30, type=click.IntRange(1), help="Interleaved; medians count.")
@click.option("--requests", default=4_000, type=click.IntRange(1), help="Of each kind, each round.")
@click.option("--connections", default=64, type=click.IntRange(1, 256), help="How many.")
@click.option(
    "--before",
    type=click.Path(exists=True, file_okay=False, path_type=Path, resolve_path=True),
    help="A checkout of another version, whose server takes events without limits in turn.",
)
@console.json_option
def limits(
    *, rounds: int, requests: int, connections: int, before: Path | None, json_path: Path | None
) -> None:
    """Measure what limits of an app or a key cost an event, and others."""
    screen = console.make()
    take_us = {kind.name: measure_take(kind) for kind in (OF_APP, OF_BOTH)}
    with console.progress(screen, "measuring", rounds) as update:
        plan = Plan(rounds, requests, connections)
        found = measure(plan, before, take_us, lambda: update(advance=1))
    show(screen, found)
    if json_path is not None:
        console.write_json(json_path, found.as_json())
    if found.void:
        sys.exit(console.VOID_EXIT_CODE)


class Plan(NamedTuple):
    """How much is posted."""

    rounds: int
    requests: int
    """Of each kind in each round."""
    connections: int


class LimitsResult(msgspec.Struct, frozen=True):
    """What all rounds found."""

    requests: int
    connections: int
    us_per_request: Costs
    us_per_request_before: list[float]
    """Of the other checkout; empty if there is none."""
    take_us: dict[str, float]
    """What counting an event takes by itself, at best of several tries."""
    void: list[str]
    """Why this doesn't count; empty when it does."""

    def ratios(self, kind: Kind) -> list[float]:
        """Return what a kind's request costs by one without limits, round by round."""
        return _divided(self.us_per_request[kind.name], self.us_per_request[FREE.name])

    @property
    def growths(self) -> list[float]:
        """Return what one without limits costs by that of the other checkout, round by round."""
        if not self.us_per_request_before:
            return []
        return _divided(self.us_per_request[FREE.name], self.us_per_request_before)

    @property
    def reached(self) -> list[tuple[str, float, Bound, bool]]:
        """Return what is held to a bound, and whether it is within."""
        figures = [(f"µs to count: {name}", us, TAKE) for name, us in self.take_us.items()]
        if self.growths:
            figures.append(("no limits / before", statistics.median(self.growths), GROWTH))
        return [
            (name, figure, bound, not self.void and bound.admits(figure))
            for name, figure, bound in figures
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": machine.describe(),
            "ratios": {kind.name: statistics.median(self.ratios(kind)) for kind in KINDS},
            "targets": [
                {"target": name, "measured": figure, "bound": str(bound), "is_reached": is_reached}
                for name, figure, bound, is_reached in self.reached
            ],
            **msgspec.to_builtins(self),
        }


def measure_take(kind: Kind) -> float:
    """Return the microseconds that counting one event takes, as the fast lane does it."""
    meters = Meters(Member.alone())
    wanted = {Subject(1): kind.app_limits, Subject(1, 2): kind.key_limits}
    held = {subject: Held(each, "UTC") for subject, each in wanted.items()}
    asyncio.run(meters.learn(held))
    meters.hold(held)
    allowance = meters.of(1, 2)
    if allowance is None:
        raise BenchError("there is nothing to count with")
    tries = timeit.repeat(lambda: _take_many(allowance), number=1, repeat=_REPEATS)
    return min(tries) / _TIMES * _US


def _take_many(allowance: Allowance) -> None:
    for _ in range(_TIMES):
        if not allowance.take(1, _EXAMPLE_BYTES):
            raise BenchError("a limit was reached that is far away")


def measure(
    plan: Plan, before: Path | None, take_us: dict[str, float], on_round: Callable[[], None]
) -> LimitsResult:
    """Measure on a temporary Postgres; the servers, if there are two, share a core."""
    cores = machine.split_cores()
    with ExitStack() as stack:
        url = stack.enter_context(servers.temporary_postgres(cores.others))
        keys = {kind: servers.make_key(url, kind.name) for kind in KINDS}
        database.run(url, lambda session: _limit(session, keys))
        now = stack.enter_context(servers.ours(url, cores.server, {}))
        turns = [(kind, now) for kind in KINDS]
        if before is not None:
            turns.append(
                (_BEFORE, stack.enter_context(servers.ours(url, cores.server, {}, before)))
            )
            keys[_BEFORE] = keys[FREE]
        return _Rounds(url, keys, plan, turns).run(take_us, on_round)


_BEFORE: Final = Kind("before")


async def _limit(session: Session, keys: dict[Kind, str]) -> None:
    for kind, key in keys.items():
        app_id = await session.fetchval("SELECT id FROM apps WHERE name = $1", kind.name)
        await kept_limits.set_of_app(session, app_id, kind.app_limits)
        await kept_limits.set_of_key(session, digest(key), kind.key_limits)


class _Rounds:
    """Rounds of all kinds, and what is amiss in them."""

    def __init__(
        self, url: str, keys: dict[Kind, str], plan: Plan, turns: list[tuple[Kind, Endpoint]]
    ) -> None:
        self._url = url
        self._keys = keys
        self._plan = plan
        self._turns = turns
        self._void: list[str] = []

    def run(self, take_us: dict[str, float], on_round: Callable[[], None]) -> LimitsResult:
        """Return what all rounds found; every other one goes back, so that none is always first."""
        self._round({}, self._turns)  # to warm up
        costs: Costs = {}
        for number in range(self._plan.rounds):
            self._round(costs, self._turns[:: -1 if number % 2 else 1])
            on_round()
        before = costs.pop(_BEFORE.name, [])
        plan = self._plan
        return LimitsResult(plan.requests, plan.connections, costs, before, take_us, self._void)

    def _round(self, costs: Costs, turns: list[tuple[Kind, Endpoint]]) -> None:
        for kind, endpoint in turns:
            costs.setdefault(kind.name, []).append(self._post(kind, endpoint))

    def _post(self, kind: Kind, endpoint: Endpoint) -> float:
        """Post into an empty table; return the CPU a request in microseconds."""
        database.clear(self._url)
        headers = {"X-API-Key": self._keys[kind], "Content-Type": JSON}
        host = f"{endpoint.host}:{endpoint.port}"
        request = http.post(host, "/event", headers, posts.EXAMPLE.body)
        count, others = self._plan.requests, machine.split_cores().others
        before_s = servers.cpu_s(endpoint)
        statuses = sender.send(endpoint, [request] * count, self._plan.connections, others)
        cpu_s = servers.cpu_s(endpoint) - before_s
        self._void += _amiss(kind, statuses, database.count(self._url))
        return cpu_s / count * _US


def _amiss(kind: Kind, statuses: dict[int, int], stored: int) -> list[str]:
    """Return how answers and rows differ from what they should be."""
    let_in, refused = statuses.get(200, 0), statuses.get(429, 0)
    amiss = [f"{kind.name}: {n} answers of {s}" for s, n in statuses.items() if s not in (200, 429)]
    if (let_in if kind is REFUSED else refused) > sum(statuses.values()) // 10:
        amiss.append(f"{kind.name}: {let_in} let in, {refused} refused")
    if stored != let_in:
        amiss.append(f"{kind.name}: {let_in} let in, {stored} rows")
    return amiss


def _divided(costs: list[float], by: list[float]) -> list[float]:
    return [each / other for each, other in zip(costs, by, strict=True)]


def show(screen: Console, found: LimitsResult) -> None:
    """Print a line for each kind and what is held to a bound, or why this doesn't count."""
    table = console.bare_table(
        ("limits",), ["CPU µs a request", "min to max", f"by {FREE.name}", "min to max"]
    )
    for kind in KINDS:
        costs, ratios = found.us_per_request[kind.name], found.ratios(kind)
        table.add_row(kind.name, *_spread(costs, 1), *_spread(ratios, 3))
    if found.us_per_request_before:
        table.add_row(_BEFORE.name, *_spread(found.us_per_request_before, 1), "", "")
    screen.print(table)
    console.show_void(screen, found.void)
    for name, figure, bound, is_reached in () if found.void else found.reached:
        screen.print(f"{name}: {figure:.3f}, {bound}: {targets.shown(is_reached=is_reached)}")


def _spread(figures: list[float], digits: int) -> tuple[str, str]:
    """Return the median, and the smallest and the largest."""
    middle, low, high = statistics.median(figures), min(figures), max(figures)
    return f"{middle:.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}"
