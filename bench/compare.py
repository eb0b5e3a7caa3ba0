"""The comparison: who takes part, round by round, and what came out.

Rounds are interleaved, so that a machine that is slow for a minute is slow for everybody. Figures
are medians; what to look at is ratios.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from statistics import median
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress

from bench import database, forms, machine, servers
from bench.contest import Arena, Contest, CopyAlone, Result, Served, Start
from bench.errors import BenchError
from bench.servers import Target

FAST = "ours-fast"
AIOHTTP = "ours-aiohttp"
BATCH = "ours-batch"
COPY = "copy"
ONCE = 1
"""The connections of an entry that has no clients."""
BATCH_CONNECTIONS = 4
"""Enough that two COPYs are under way while two more batches are on the wire."""


class Entry(NamedTuple):
    """One row of the comparison."""

    name: str
    label: str
    promise: str
    """What its 200 means."""
    contest: Contest
    connections: int = 0
    """How many it always has; 0 for as many as are asked for."""
    events: int = 1
    """In a request."""
    is_named_only: bool = False
    """Whether it takes part only when it is asked for by name."""


class Measured(msgspec.Struct):
    """All runs of one entry with one number of connections."""

    entry: str
    label: str
    promise: str
    connections: int
    runs: list[Result]
    events: int = 1

    @property
    def good(self) -> list[Result]:
        """Return the runs that count."""
        return [run for run in self.runs if not run.void]

    @property
    def sender(self) -> str:
        """Return who sent; nothing for an entry that nobody sends."""
        return self.runs[0].sender if self.runs else ""

    def spread(self, figure: str) -> tuple[float, float, float] | None:
        """Return median, minimum and maximum of a Result's figure; None when no run counts."""
        values = [getattr(run, figure) for run in self.good]
        return (median(values), min(values), max(values)) if values else None

    def median(self, figure: str) -> float | None:
        """Return the median of a Result's figure over the runs that count."""
        spread = self.spread(figure)
        return spread[0] if spread else None


def entries() -> list[Entry]:
    """Return everybody who takes part, in the order of the table."""
    committed, nothing = "committed", "nothing"
    return [
        *_ours(),
        Entry("obvious", "aiohttp + Queue + COPY", committed, Served(_peer("obvious"))),
        Entry("fastapi", "FastAPI, one INSERT each", committed, Served(_peer("fastapi_insert"))),
        Entry(
            "aiohttp-fixed",
            "aiohttp, fixed answer",
            nothing,
            Served(_peer("aiohttp_fixed"), stores=False),
        ),
        Entry(
            "uvloop-fixed",
            "uvloop protocol, fixed answer",
            nothing,
            Served(_peer("uvloop_fixed"), stores=False),
        ),
        *_batches(),
        Entry(COPY, "COPY alone, 1,000 rows each", committed, CopyAlone(), ONCE),
    ]


def choose(names: Sequence[str]) -> list[Entry]:
    """Return the entries of these names, all for none; raise BenchError for an unknown one."""
    everybody = entries()
    known = [entry.name for entry in everybody]
    for name in names:
        if name not in known:
            raise BenchError(f"--only {name}: takes no part; choose from {', '.join(known)}")
    if not names:
        return [entry for entry in everybody if not entry.is_named_only]
    return [entry for entry in everybody if entry.name in names]


def plan(
    chosen: Sequence[Entry], rounds: int, connections: Sequence[int]
) -> list[tuple[Entry, int]]:
    """Return every run in order: round by round, each entry with each number of connections."""
    one_round = [
        (entry, entry.connections or number)
        for number in connections
        for entry in chosen
        if not entry.connections or number == connections[0]
    ]
    return one_round * rounds


def measure(arena: Arena, planned: Sequence[tuple[Entry, int]], console: Console) -> list[Measured]:
    """Run one after the other, with a progress bar; return what each entry did."""
    found: dict[tuple[str, int], Measured] = {}
    with Progress(*Progress.get_default_columns(), console=console, transient=True) as progress:
        task = progress.add_task("", total=len(planned))
        for entry, connections in planned:
            progress.update(task, description=f"{entry.label}, {connections} connections")
            measured = found.setdefault(
                (entry.name, connections),
                Measured(entry.name, entry.label, entry.promise, connections, [], entry.events),
            )
            measured.runs.append(entry.contest(arena, connections))
            progress.advance(task)
    return list(found.values())


@contextmanager
def arena(seconds: float, warm_up_s: float, sender: str) -> Iterator[Arena]:
    """Run a Postgres for all runs, with its default settings."""
    cores = machine.split_cores()
    with servers.temporary_postgres(cores.others) as database_url:
        yield Arena(
            database_url=database_url,
            key=servers.make_key(database_url),
            cores=cores,
            postgres_pid=database.find_postmaster(database_url),
            seconds=seconds,
            warm_up_s=warm_up_s,
            sender=sender,
        )


def _ours() -> list[Entry]:
    committed = "committed"
    if not servers.has_fast_lane():
        return [Entry(AIOHTTP, "ours, aiohttp lane", committed, _plain({}))]
    fast, slow = ({servers.FAST_LANE: value} for value in (True, False))
    return [
        Entry(FAST, "ours, fast lane", committed, _plain(fast)),
        Entry(AIOHTTP, "ours, aiohttp lane", committed, _plain(slow)),
    ]


def _batches() -> list[Entry]:
    """Return our server with batches of 1,000, each way that they can be sent and answered."""
    kinds = (
        (BATCH, "ours, batches", forms.BATCH, False),
        (f"{BATCH}-minimal", "ours, batches, return=minimal", forms.MINIMAL_BATCH, False),
        (f"{BATCH}-ndjson", "ours, batches of NDJSON", forms.NDJSON_BATCH, True),
    )
    return [
        Entry(
            name,
            label,
            "committed",
            Served(_our({}), form=form),
            BATCH_CONNECTIONS,
            form.events,
            is_named_only,
        )
        for name, label, form, is_named_only in kinds
    ]


def _plain(settings: Mapping[str, object]) -> Served:
    return Served(_our(settings), has_metrics=True)


def _our(settings: Mapping[str, object]) -> Start:
    def start(arena: Arena) -> AbstractContextManager[Target]:
        return servers.ours(arena.database_url, arena.cores.server, settings)

    return start


def _peer(module: str) -> Start:
    def start(arena: Arena) -> AbstractContextManager[Target]:
        return servers.peer(module, arena.database_url, arena.cores.server)

    return start
