"""Who takes part in the comparison: our server, its peers, and the ceilings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from bench import servers
from bench.compare.setup import Setup
from bench.compare.trial import CopyAlone, Served, Start, Trial
from bench.errors import BenchError
from bench.load import forms
from bench.servers import Endpoint

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
    trial: Trial
    connections: int = 0
    """How many it always has; 0 for as many as are asked for."""
    events: int = 1
    """In a request."""
    is_named_only: bool = False
    """Whether it takes part only when it is asked for by name."""


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


@contextmanager
def peer(module: str, database_url: str, cores: frozenset[int]) -> Iterator[Endpoint]:
    """Run a server of `bench.compare.peers` on a free port."""
    arguments = ("-m", f"bench.compare.peers.{module}", "--database-url", database_url)
    with servers.serving(arguments, cores, {}) as (endpoint, _):
        yield endpoint


def _plain(settings: Mapping[str, object]) -> Served:
    return Served(_our(settings), has_metrics=True)


def _our(settings: Mapping[str, object]) -> Start:
    def start(setup: Setup) -> AbstractContextManager[Endpoint]:
        chosen = {servers.WORKERS: setup.workers} | dict(settings)
        return servers.ours(setup.database_url, setup.cores.server, chosen)

    return start


def _peer(module: str) -> Start:
    def start(setup: Setup) -> AbstractContextManager[Endpoint]:
        return peer(module, setup.database_url, setup.cores.server)

    return start
