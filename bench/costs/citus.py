"""The command `citus`: single events over Citus's nodes, by what one plain Postgres takes.

Round after round a server on each takes events, of one app and of many, one after the other. Both
run on this machine, so the nodes share what the one has alone: what is measured is what passing
events on costs, not what several machines do more than one.
"""

import asyncio
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from bench import console, machine, servers
from bench.citus import VARIABLE, Node, Nodes
from bench.console import Console
from bench.load import database, payloads, pool
from bench.load.pool import Job
from bench.servers import Endpoint
from bench.targets import Bound
from ingest.app.database import make_postgres, prepare
from ingest.config import Config
from ingest.store import api_keys

DATABASE: Final = "nonito_bench"
ONE, MANY = "1 app", "64 apps"
APPS: Final = {ONE: 1, MANY: 64}
BOUNDS: Final = {ONE: Bound("at least", 0.4), MANY: Bound("at least", 0.3)}
_PLAIN, _CITUS = "plain", "citus"

Rates = dict[str, dict[str, list[float]]]
"""Events a second, by how many apps and by engine, a figure for each round."""


class Side(NamedTuple):
    """A server on one of both engines, and its apps' keys."""

    database_url: str
    endpoint: Endpoint
    keys: list[str]


@click.command()
@click.option("--citus", "citus_url", envvar=VARIABLE, required=True, help="See bench/citus.py.")
@click.option("--plain", "plain_url", required=True, help="A superuser's, of a Postgres without.")
@click.option("--rounds", default=5, type=click.IntRange(1), help="Interleaved; medians count.")
@click.option("--seconds", default=5.0, type=click.FloatRange(0.1), help="Of each run.")
@click.option("--connections", default=64, type=click.IntRange(1, 1_000), help="How many.")
@click.option(
    "--audit",
    "audit_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `audit --citus` has written, to be put beside the figures.",
)
@console.json_option
def citus(  # noqa: PLR0913 - one for each option
    *,
    citus_url: str,
    plain_url: str,
    rounds: int,
    seconds: float,
    connections: int,
    audit_path: Path | None,
    json_path: Path | None,
) -> None:
    """Measure single events over Citus's nodes by those on one plain Postgres."""
    screen = console.make()
    nodes, plain = Nodes(citus_url), Node(plain_url)
    plan = Plan(rounds, seconds, connections)
    with (
        console.progress(screen, "measuring", rounds * len(APPS) * 2) as update,
        _sides(nodes, plain) as sides,
    ):
        rates = _measure(plan, sides, lambda: update(advance=1))
        settings = database.settings(sides[_PLAIN].database_url)
    found = CitusResult(nodes.version, plan.connections, rates, settings)
    show(screen, found)
    if json_path is not None:
        audit = msgspec.json.decode(audit_path.read_bytes()) if audit_path else None
        console.write_json(json_path, found.as_json() | {"audit": audit})
    if not all(found.is_reached(apps) for apps in APPS):
        sys.exit(1)


class Plan(NamedTuple):
    """How much is sent."""

    rounds: int
    seconds: float
    connections: int


class CitusResult(msgspec.Struct, frozen=True):
    """What all rounds found."""

    version: str
    connections: int
    events_per_s: Rates
    plain_settings: dict[str, str]

    def ratio(self, apps: str) -> float:
        """Return the median of Citus by that of plain Postgres."""
        rates = self.events_per_s[apps]
        return statistics.median(rates[_CITUS]) / statistics.median(rates[_PLAIN])

    def is_reached(self, apps: str) -> bool:
        """Whether that is within its bound."""
        return BOUNDS[apps].admits(self.ratio(apps))

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": machine.describe(),
            "ratios": {apps: self.ratio(apps) for apps in APPS},
            "targets": [
                {"target": apps, "bound": str(BOUNDS[apps]), "is_reached": self.is_reached(apps)}
                for apps in APPS
            ],
            **msgspec.to_builtins(self),
        }


@contextmanager
def _sides(nodes: Nodes, plain: Node) -> Iterator[Mapping[str, Side]]:
    """Run a server on each, in a database of its own."""
    cores = machine.split_cores()
    drop = f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"
    with ExitStack() as stack:
        nodes.drop_database(DATABASE)
        nodes.make_database(DATABASE)
        stack.callback(nodes.drop_database, DATABASE)
        plain.fetch(drop)
        plain.fetch(f"CREATE DATABASE {DATABASE}")
        stack.callback(plain.fetch, drop)
        urls = {_PLAIN: plain.url(DATABASE), _CITUS: nodes.coordinator.url(DATABASE)}
        sides = {}
        for engine, url in urls.items():
            keys = asyncio.run(_make_keys(url))
            endpoint = stack.enter_context(servers.ours(url, cores.server, {}))
            sides[engine] = Side(url, endpoint, keys)
        yield sides


async def _make_keys(url: str) -> list[str]:
    postgres = make_postgres(Config(), url)
    await prepare(postgres, Config())
    async with postgres.session() as connection:
        return [
            await api_keys.create(connection, f"app-{number}", "python -m bench", None)
            for number in range(max(APPS.values()))
        ]


def _measure(plan: Plan, sides: Mapping[str, Side], on_run: Callable[[], None]) -> Rates:
    rates: Rates = {apps: {engine: [] for engine in sides} for apps in APPS}
    for number in range(plan.rounds):
        order = list(sides.items())[:: 1 if number % 2 else -1]
        for apps, count in APPS.items():
            for engine, side in order:
                rates[apps][engine].append(_rate(plan, side, count))
                on_run()
    return rates


def _rate(plan: Plan, side: Side, apps: int) -> float:
    database.clear(side.database_url)
    job = Job(
        side.endpoint,
        side.keys[0],
        payloads.load("example"),
        connections=plan.connections,
        seconds=plan.seconds,
        cores=machine.split_cores().others,
        further_keys=tuple(side.keys[1:apps]),
    )
    return pool.run(job, lambda _elapsed_s, _answers: None).stats.events_per_s


def show(screen: Console, found: CitusResult) -> None:
    """Print the rates and their ratios."""
    table = console.table(None, (found.version,), ("plain /s", "Citus /s", "ratio", "bound"))
    for apps, rates in found.events_per_s.items():
        plain, citus = (statistics.median(rates[engine]) for engine in (_PLAIN, _CITUS))
        mark = "green" if found.is_reached(apps) else "bold red"
        ratio = f"[{mark}]{found.ratio(apps):.2f}"
        table.add_row(apps, f"{plain:,.0f}", f"{citus:,.0f}", ratio, str(BOUNDS[apps]))
    screen.print(table)
