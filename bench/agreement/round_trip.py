"""Whether the intake and Postgres agree: what is let through is stored, and comes back equal.

Bodies go through the intake's decoder; what it accepts goes into `events` by COPY, a batch at a
time, is read back in the same transaction, and that is rolled back. Equal means equal as JSON, with
every digit of every number; the last of equal keys counts, and the order of keys doesn't.
And what the decoder refuses has to break a rule of the contract, by Python's own JSON parser.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from bench.agreement import generator
from bench.agreement.contract import Content, are_equal, is_allowed, read, read_params
from ingest.errors import Refusal
from ingest.events import copy_format
from ingest.events.event import decode
from ingest.events.ids import IdSequence
from ingest.store.copier import Copier, CopyConnection, query
from ingest.store.failures import RowRefused, while_sending
from ingest.store.postgres import Postgres, close

NAME_CHARS_MAX: Final = 255
BATCH: Final = 1_000
_BATCHES_MAX: Final = 1_000_000  # so that the batches of one seed are not those of the next
_TRIES_MAX: Final = 20_000
_SIZES_ALL_MAX: Final = 16  # an item and its comma have any size
_FINDINGS_MAX: Final = 5  # of a batch: the next ones are most likely the same
_CONNECT_TIMEOUT_S: Final = 10.0
_STATEMENT_TIMEOUT_S: Final = 60.0
_COPY: Final = query(
    f"COPY {copy_format.TABLE} ({', '.join(copy_format.COLUMNS)}) FROM STDIN (FORMAT binary)"
)
_BEGIN: Final = query("BEGIN")
_ROLLBACK: Final = query("ROLLBACK")
_READ: Final = f"SELECT id, event_name, event_params::text AS params FROM {copy_format.TABLE}"  # noqa: S608


class Finding(NamedTuple):
    """A body on which the two disagree."""

    seed: int
    """Of its batch, for `batch`."""
    body: bytes
    """As small as it still shows the difference."""
    difference: str


class RoundTrips(NamedTuple):
    """What came of all round trips of a run."""

    documents: int
    accepted: int
    findings: list[Finding]


class Difference(NamedTuple):
    """A body and how the two disagree about it."""

    body: bytes
    text: str


class _Event(NamedTuple):
    """A body that was let through, and its COPY tuple."""

    body: bytes
    row: bytes


def run_many(
    url: str, count: int, seed: int, processes: int, on_progress: Callable[[int], None]
) -> RoundTrips:
    """Share the work between processes; `on_progress` is told of every batch that is done."""
    sizes = [BATCH] * (count // BATCH) + [count % BATCH] * (count % BATCH > 0)
    seeds = range(seed * _BATCHES_MAX, seed * _BATCHES_MAX + len(sizes))
    total = RoundTrips(0, 0, [])
    with ProcessPoolExecutor(processes) as pool:
        for part in pool.map(partial(run, url), sizes, seeds):
            total = RoundTrips(
                total.documents + part.documents,
                total.accepted + part.accepted,
                total.findings + part.findings,
            )
            on_progress(part.documents)
    return total


def run(url: str, count: int, seed: int) -> RoundTrips:
    """Try one batch; the same seed tries the same bodies."""
    return asyncio.run(_run(url, count, seed))


async def _run(url: str, count: int, seed: int) -> RoundTrips:
    async with connected(url) as connection:
        accepted, differences = await examine(connection, batch(count, seed))
        smallest = [await minimise(connection, found) for found in differences[:_FINDINGS_MAX]]
    return RoundTrips(count, accepted, [Finding(seed, *found) for found in smallest])


def batch(count: int, seed: int) -> list[bytes]:
    """Return the bodies of a batch."""
    random_ = random.Random(seed)  # noqa: S311 - repeatable on purpose
    return [generator.make(random_) for _ in range(count)]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[CopyConnection]:
    """Yield a connection to a migrated database, which is left as it was."""
    postgres = Postgres(
        url, connect_timeout_s=_CONNECT_TIMEOUT_S, commit_timeout_s=_STATEMENT_TIMEOUT_S
    )
    connection = await postgres.connect()
    try:
        yield connection
    finally:
        await close(connection, _CONNECT_TIMEOUT_S)


async def examine(
    connection: CopyConnection, bodies: Sequence[bytes]
) -> tuple[int, list[Difference]]:
    """Return how many bodies are let through, and all differences about any of them."""
    events: dict[UUID, _Event] = {}
    differences = []
    sequence = IdSequence()
    for body in bodies:
        event_id, _, received = sequence.next()
        try:
            name, params, _ = decode(body, NAME_CHARS_MAX)
        except Refusal as refusal:
            if is_allowed(body, NAME_CHARS_MAX):
                differences.append(Difference(body, f"refused for nothing: {refusal.message}"))
            continue
        row = copy_format.row(
            copy_format.row_head(1), event_id, name.encode(), params, received.row
        )
        events[UUID(bytes=event_id)] = _Event(body, row)
    accepted = len(events)
    if events:
        differences += await _compare(connection, events)
    return accepted, differences


async def _compare(connection: CopyConnection, events: dict[UUID, _Event]) -> list[Difference]:
    """Store and read back what was let through; take out of `events` what Postgres refuses."""
    copier = connection.lend()
    try:
        differences = await _copy(copier, events)
    finally:
        copier.give_back()
    stored = {row["id"]: row for row in await connection.fetch(_READ)}
    await connection.execute("ROLLBACK")
    for event_id, event in events.items():
        row = stored.get(event_id)
        found = None if row is None else Content(row["event_name"], read_params(row["params"]))
        if text := _difference(event.body, found):
            differences.append(Difference(event.body, text))
    return differences


async def _copy(copier: Copier, events: dict[UUID, _Event]) -> list[Difference]:
    """Leave a transaction open in which all rows are stored but those that Postgres refuses."""
    differences = []
    while True:
        await copier.execute(_BEGIN)
        try:
            await copier.copy(_COPY, copy_format.document([event.row for event in events.values()]))
        except asyncpg.PostgresError as error:
            await copier.execute(_ROLLBACK)
            bad = while_sending(error, len(events))
            if not isinstance(bad, RowRefused) or bad.index is None:
                raise
            refused = events.pop(list(events)[bad.index])
            text = f"let through, and refused by Postgres: {bad.sqlstate} {bad.message}"
            differences.append(Difference(refused.body, text))
        else:
            return differences


def _difference(body: bytes, found: Content | None) -> str:
    try:
        sent = read(body)
    except ValueError as error:
        return f"let through, and refused by Python's parser: {error}"
    if found is None:
        return "let through and not found"
    return "" if are_equal(found, sent) else "let through, and comes back another"


async def minimise(connection: CopyConnection, found: Difference) -> Difference:
    """Return a difference about the smallest body that can be cut from this one."""
    size, tries = len(found.body) // 2, 0
    while size and tries < _TRIES_MAX:
        place, before = 0, found
        while place < len(found.body) and tries < _TRIES_MAX:
            tries += 1
            shorter = found.body[:place] + found.body[place + size :]
            _, differences = await examine(connection, [shorter])
            if differences:
                found = differences[0]
            else:
                place += size if size > _SIZES_ALL_MAX else 1
        if found is before:
            size = size // 2 if size > _SIZES_ALL_MAX else size - 1
    return found
