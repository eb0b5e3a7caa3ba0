"""The command `documents`: hostile events at random, for the intake and for Postgres."""

import secrets
import sys

import click

from bench import console, servers
from bench.agreement import round_trip
from bench.agreement.round_trip import RoundTrips
from bench.console import Console


@click.command()
@click.option("--documents", "count", default=300_000, type=click.IntRange(1), help="How many.")
@click.option("--seed", default=None, type=int, help="Repeat a run. Default: a new one.")
@click.option("--processes", default=2, type=click.IntRange(1, 64), help="That share the work.")
def documents(*, count: int, seed: int | None, processes: int) -> None:
    """Try hostile events on the intake and on Postgres: what one takes, the other stores equal."""
    screen = console.make()
    seed = secrets.randbits(32) if seed is None else seed
    with (
        servers.prepared_postgres() as url,
        console.progress(screen, f"seed {seed}", count, stays=True) as update,
    ):
        result = round_trip.run_many(url, count, seed, processes, lambda done: update(advance=done))
    _show(screen, seed, result)
    if result.findings:
        sys.exit(1)


def _show(screen: Console, seed: int, result: RoundTrips) -> None:
    """Print every finding, and the counts."""
    for found in result.findings:
        text = f"batch {found.seed}: {found.body!r}\n  {found.difference}"
        screen.print(text, style="red", markup=False)
    screen.print(
        f"seed {seed}: {result.documents:,} documents, {result.accepted:,} let through, "
        f"{len(result.findings)} findings"
    )
