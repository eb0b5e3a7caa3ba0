"""The command `protocols`: what an event costs the server by the protocol in which it comes.

Round after round, each kind of document is posted in turn to one server, from an empty table on,
and the CPU that the server's worker takes meanwhile is divided by the events. Each document has
events of its own, and every one of them has to be a row: a run whose table has fewer or more, or
other ones, is void.

A server of another checkout may stand beside it and take the same, in turn: how a change on the
path of an event is measured before and after.
"""

import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from bench import console, machine, servers, targets
from bench.console import Console
from bench.costs import posts, sender
from bench.costs.posts import Kind
from bench.load import database
from bench.load.database import Session
from bench.servers import Endpoint
from bench.targets import Bound

RATIO: Final = Bound("at most", 1.5)
"""Of Segment's event to one of `/events` with id and time."""
GROWTH: Final = Bound("at most", 1.03)
"""Of the plain event to that of the other checkout: two runs of one version differ by as much."""
_OK: Final = 200

Costs = dict[str, list[float]]
"""Microseconds of CPU an event by kind, a figure for each round."""


@click.command()
@click.option("--rounds", default=30, type=click.IntRange(1), help="Interleaved; medians count.")
@click.option(
    "--documents", default=50, type=click.IntRange(1), help="Of 100 events, each kind, each round."
)
@click.option("--connections", default=4, type=click.IntRange(1, 64), help="How many.")
@click.option(
    "--before",
    type=click.Path(exists=True, file_okay=False, path_type=Path, resolve_path=True),
    help="A checkout of another version, whose server takes the same in turn.",
)
@console.json_option
def protocols(
    *, rounds: int, documents: int, connections: int, before: Path | None, json_path: Path | None
) -> None:
    """Measure what an event costs the server by the protocol in which it comes."""
    screen = console.make()
    plan = Plan(rounds, documents, connections)
    with console.progress(screen, "measuring", rounds) as update:
        found = measure(plan, before, lambda: update(advance=1))
    show(screen, found)
    if json_path is not None:
        console.write_json(json_path, found.as_json())
    if found.void:
        sys.exit(console.VOID_EXIT_CODE)


class Plan(NamedTuple):
    """How much is posted."""

    rounds: int
    documents: int
    """Of each kind in each round."""
    connections: int


class ProtocolsResult(msgspec.Struct, frozen=True):
    """What all rounds found."""

    documents: int
    connections: int
    postgres: dict[str, str]
    us_per_event: Costs
    us_per_event_before: Costs
    """Of the other checkout; empty if there is none."""
    void: list[str]
    """Why this doesn't count; empty when it does."""

    @property
    def ratio(self) -> float:
        """Return what Segment's event costs by that of `/events` with id and time."""
        return statistics.median(self.ratios(posts.SEGMENT))

    @property
    def growth(self) -> float | None:
        """Return what the plain event costs by that of the other checkout, if there is one."""
        found = self.growths(posts.PLAIN)
        return statistics.median(found) if found else None

    @property
    def reached(self) -> list[tuple[str, float, Bound, bool]]:
        """Return what is held to a bound, and whether it is within."""
        figures = [("segment / events-with-ids", self.ratio, RATIO)]
        if self.growth is not None:
            figures.append(("events / before", self.growth, GROWTH))
        return [
            (name, figure, bound, not self.void and bound.admits(figure))
            for name, figure, bound in figures
        ]

    def ratios(self, kind: Kind) -> list[float]:
        """Return what a kind's event costs by that of `/events` with id and time, by round."""
        return _divided(self.us_per_event[kind.name], self.us_per_event[posts.WITH_IDS.name])

    def growths(self, kind: Kind) -> list[float]:
        """Return what a kind's event costs by that of the other checkout, by round."""
        if not self.us_per_event_before:
            return []
        return _divided(self.us_per_event[kind.name], self.us_per_event_before[kind.name])

    def as_json(self) -> dict[str, Any]:
        """Return everything; costs in microseconds of CPU an event."""
        return {
            "machine": machine.describe(),
            "events_per_document": posts.EVENTS,
            "median_us_per_event": _medians(self.us_per_event),
            "median_us_per_event_before": _medians(self.us_per_event_before),
            "ratios": {kind.name: statistics.median(self.ratios(kind)) for kind in posts.KINDS},
            "targets": [
                {"target": name, "measured": figure, "bound": str(bound), "is_reached": is_reached}
                for name, figure, bound, is_reached in self.reached
            ],
            **msgspec.to_builtins(self),
        }


def measure(plan: Plan, before: Path | None, on_round: Callable[[], None]) -> ProtocolsResult:
    """Measure on a temporary Postgres; the servers, if there are two, share a core."""
    cores = machine.split_cores()
    with ExitStack() as stack:
        url = stack.enter_context(servers.temporary_postgres(cores.others))
        key = servers.make_key(url)
        checkouts = () if before is None else (before,)
        now = stack.enter_context(servers.ours(url, cores.server, {}))
        others = [
            stack.enter_context(servers.ours(url, cores.server, {}, checkout))
            for checkout in checkouts
        ]
        return _Rounds(url, key, plan, [now, *others]).run(on_round)


class _Rounds:
    """Rounds on one server or two, and what is amiss in them."""

    def __init__(self, url: str, key: str, plan: Plan, endpoints: list[Endpoint]) -> None:
        self._url = url
        self._key = key
        self._plan = plan
        self._costs: list[tuple[Endpoint, Costs]] = [(each, {}) for each in endpoints]
        self._void: list[str] = []

    def run(self, on_round: Callable[[], None]) -> ProtocolsResult:
        """Return what all rounds found; every other one goes back, so that none is always first."""
        turns = [(kind, *each) for kind in posts.KINDS for each in self._costs]
        self._round([(kind, endpoint, {}) for kind, endpoint, _ in turns])  # to warm up
        for number in range(self._plan.rounds):
            self._round(turns[:: -1 if number % 2 else 1])
            on_round()
        return self._result(*(costs for _, costs in self._costs))

    def _round(self, turns: list[tuple[Kind, Endpoint, Costs]]) -> None:
        """Post all kinds in quick succession: a shared core has another speed a second later."""
        documents = self._plan.documents
        made = [self._requests(kind, endpoint, documents) for kind, endpoint, _ in turns]
        for (kind, endpoint, costs), requests in zip(turns, made, strict=True):
            costs.setdefault(kind.name, []).append(self._post(kind, endpoint, requests))

    def _requests(self, kind: Kind, endpoint: Endpoint, documents: int) -> list[bytes]:
        host = f"{endpoint.host}:{endpoint.port}"
        return [kind.request(host, self._key) for _ in range(documents)]

    def _result(self, now: Costs, before: Costs | None = None) -> ProtocolsResult:
        plan, postgres = self._plan, database.settings(self._url)
        return ProtocolsResult(
            plan.documents, plan.connections, postgres, now, before or {}, self._void
        )

    def _post(self, kind: Kind, endpoint: Endpoint, requests: list[bytes]) -> float:
        """Post into an empty table; return the CPU an event in microseconds."""
        database.clear(self._url)
        events, others = len(requests) * posts.EVENTS, machine.split_cores().others
        before_s = servers.cpu_s(endpoint)
        statuses = sender.send(endpoint, requests, self._plan.connections, others)
        cpu_s = servers.cpu_s(endpoint) - before_s
        self._void += [f"{kind.name}: {n} answers of {s}" for s, n in statuses.items() if s != _OK]
        self._void += _amiss(self._url, kind, events)
        return cpu_s / events * 1e6


def _amiss(url: str, kind: Kind, sent: int) -> Iterator[str]:
    """Yield how the rows differ from what was sent."""
    stored, unlike, timed = database.run(url, _counts)
    if stored != sent:
        yield f"{kind.name}: {sent} sent, {stored} rows"
    if unlike:
        yield f"{kind.name}: {unlike} rows are not what was sent"
    if timed != (stored if kind.has_times else 0):
        yield f"{kind.name}: {timed} of {stored} rows say when they happened"


async def _counts(connection: Session) -> tuple[int, int, int]:
    """Return how many rows there are, without what was sent in them, and with a time."""
    row = await connection.fetchrow(
        "SELECT count(*),"
        " count(*) FILTER (WHERE event_name <> $1 OR NOT event_params @> $2::jsonb),"
        " count(timestamp) FROM events",
        posts.EXAMPLE.name,
        posts.EXAMPLE.params,
    )
    stored, unlike, timed = row or (0, 0, 0)
    return stored, unlike, timed


def _divided(costs: list[float], by: list[float]) -> list[float]:
    return [each / other for each, other in zip(costs, by, strict=True)]


def _medians(costs: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(each) for name, each in costs.items()}


def show(screen: Console, found: ProtocolsResult) -> None:
    """Print a line for each kind and what is held to a bound, or why this doesn't count."""
    heads = ["CPU µs an event", "min to max", f"by {posts.WITH_IDS.name}", "min to max"]
    if found.us_per_event_before:
        heads += ["before", "by before", "min to max"]
    table = console.bare_table((f"documents of {posts.EVENTS}",), heads)
    for kind in posts.KINDS:
        table.add_row(kind.name, *_cells(found, kind))
    screen.print(table)
    console.show_void(screen, found.void)
    for name, figure, bound, is_reached in () if found.void else found.reached:
        screen.print(f"{name}: {figure:.2f}, {bound}: {targets.shown(is_reached=is_reached)}")


def _cells(found: ProtocolsResult, kind: Kind) -> Iterator[str]:
    yield from _spread(found.us_per_event[kind.name], 1)
    yield from _spread(found.ratios(kind), 2)
    if found.us_per_event_before:
        yield f"{statistics.median(found.us_per_event_before[kind.name]):.1f}"
        yield from _spread(found.growths(kind), 2)


def _spread(figures: list[float], digits: int) -> tuple[str, str]:
    """Return the median, and the smallest and the largest."""
    middle, low, high = statistics.median(figures), min(figures), max(figures)
    return f"{middle:.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}"
