"""The command `batch`: what a COPY costs the server by its size, ours and asyncpg's.

Ours takes one round trip to Postgres, asyncpg's two.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from typing import NamedTuple

import click
import uvloop

from bench import console, machine, servers
from bench.console import Console
from bench.costs import rows
from ingest.app.database import make_postgres
from ingest.config import Config
from ingest.events import copy_format
from ingest.store.copier import query
from ingest.store.postgres import Postgres

SIZES = (1, 25, 125, 1_000)
_COPY = query(
    f"COPY {copy_format.TABLE} ({', '.join(copy_format.COLUMNS)}) FROM STDIN (FORMAT binary)"
)
ROUNDS = 5
_COLUMNS = ("events", "CPU µs, ours", "asyncpg's", "ratio", "wall µs, ours", "asyncpg's")

Send = Callable[[bytes], Awaitable[str]]


@click.command()
@click.option("--copies", default=300, type=click.IntRange(1), help="Of each size, each round.")
def batch(*, copies: int) -> None:
    """Measure what a COPY costs the server by its size, ours and asyncpg's."""
    screen = console.make()
    with console.progress(screen, "copying", len(SIZES) * ROUNDS) as update:
        found = measure(copies, lambda: update(advance=1))
    show(screen, found)


class CopyCost(NamedTuple):
    """Medians over rounds, for one COPY."""

    cpu_us: float
    """Of this process: what the server pays."""
    wall_us: float


def measure(copies: int, on_round: Callable[[], None]) -> dict[int, tuple[CopyCost, CopyCost]]:
    """Return what one COPY of each size costs, ours and asyncpg's, each `copies` times a round."""
    cores = machine.split_cores()
    with servers.temporary_postgres(cores.others) as url:
        servers.make_key(url)
        with machine.pinned(cores.server):
            return uvloop.run(_measure(make_postgres(Config(), url), copies, on_round))


async def _measure(
    postgres: Postgres, copies: int, on_round: Callable[[], None]
) -> dict[int, tuple[CopyCost, CopyCost]]:
    plain, lent = await postgres.connect(), await postgres.connect()
    copier = lent.lend()

    async def ours(document: bytes) -> str:
        return await copier.copy(_COPY, document)

    async def theirs(document: bytes) -> str:
        return await plain.copy_to_table(
            copy_format.TABLE,
            source=memoryview(document),  # type: ignore[arg-type] # the stubs leave buffers out
            columns=copy_format.COLUMNS,
            format="binary",
        )

    found: dict[int, tuple[CopyCost, CopyCost]] = {}
    documents = rows.documents()
    for size in SIZES:
        rounds = []
        for _ in range(ROUNDS):
            made = [documents(size) for _ in range(2 * copies)]
            rounds.append((await _time(ours, made[:copies]), await _time(theirs, made[copies:])))
            on_round()
        found[size] = (_middle(each[0] for each in rounds), _middle(each[1] for each in rounds))
    copier.give_back()
    await asyncio.gather(plain.close(), lent.close())
    return found


async def _time(send: Send, documents: list[bytes]) -> CopyCost:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for document in documents:
        await send(document)
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return CopyCost(cpu_s / len(documents) * 1e6, wall_s / len(documents) * 1e6)


def _middle(costs: Iterator[CopyCost]) -> CopyCost:
    cpu_us, wall_us = zip(*costs, strict=True)
    return CopyCost(median(cpu_us), median(wall_us))


def show(screen: Console, found: dict[int, tuple[CopyCost, CopyCost]]) -> None:
    """Print a line for each size."""
    table = console.bare_table((), _COLUMNS)
    for size, (ours, theirs) in found.items():
        ratio = f"{ours.cpu_us / theirs.cpu_us:.2f}"
        figures = (ours.cpu_us, theirs.cpu_us, ours.wall_us, theirs.wall_us)
        cells = [f"{figure:,.0f}" for figure in figures]
        table.add_row(f"{size:,}", *cells[:2], ratio, *cells[2:])
    screen.print(table)
