"""Postgres's ceiling: binary COPY of the same rows alone, batches of 1,000, one connection.

Batches are laid out ahead; only ids and times are written anew, since ids must differ.
"""

import time
from typing import NamedTuple

import asyncpg
import click
import numpy as np
import orjson
import uvloop

from bench.load.payloads import Payload, example
from ingest.events import copy_format

BATCH_EVENTS = 1_000
_COMMIT_TIMEOUT_S = 30.0
_POSTGRES_EPOCH_MS = 946_684_800_000
_VARIANT = np.uint64(2 << 62)
_ID_PLACE = 14
"""Where a row's id starts: behind the field count, `app_id` with its length, the id's length."""


class Document:
    """A COPY document of 1,000 rows whose ids can be renewed."""

    def __init__(self, app_id: int, payload: Payload) -> None:
        head, times = copy_format.row_head(app_id), copy_format.tail(0)
        one = copy_format.row(
            head, bytes(16), payload.name.encode(), payload.params.encode(), times
        )
        whole = bytes(copy_format.document([one] * BATCH_EVENTS))
        self._bytes = np.frombuffer(bytearray(whole), dtype=np.uint8)
        before = whole.index(one)
        table = self._bytes[before : before + len(one) * BATCH_EVENTS].reshape(BATCH_EVENTS, -1)
        self._ids = table[:, _ID_PLACE : _ID_PLACE + 16]
        times_end = len(one) - len(copy_format.PLAIN)
        self._times = table[:, times_end - 8 : times_end]
        self._batch = 0

    def renew(self) -> memoryview:
        """Return the document with ids and times that it never had before."""
        unix_ms = time.time_ns() // 1_000_000
        first = self._batch * BATCH_EVENTS
        self._batch += 1
        self._ids[:, :6] = _big_endian(unix_ms)[2:]
        self._ids[:, 6:8] = (0x70, 0)
        numbers = np.arange(first, first + BATCH_EVENTS, dtype=np.uint64) | _VARIANT
        self._ids[:, 8:] = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
        self._times[:] = _big_endian((unix_ms - _POSTGRES_EPOCH_MS) * 1000)
        return self._bytes.data


class Copied(NamedTuple):
    """What was done in the window after the warm-up."""

    rows: int
    rows_in_all: int
    seconds: float
    cpu_s: float


def _big_endian(value: int) -> np.typing.NDArray[np.uint8]:
    return np.frombuffer(value.to_bytes(8, "big"), dtype=np.uint8)


async def copy(database_url: str, warm_up_s: float, seconds: float) -> Copied:
    """COPY for so long and return what was committed."""
    connection = await asyncpg.connect(database_url, timeout=_COMMIT_TIMEOUT_S)
    document = Document(await connection.fetchval("SELECT min(id) FROM apps"), example())
    before = await _copy_for(connection, document, warm_up_s)
    started_s, cpu_s = time.perf_counter(), time.process_time()
    during = await _copy_for(connection, document, seconds)
    ended_s, cpu_s = time.perf_counter(), time.process_time() - cpu_s
    await connection.close(timeout=_COMMIT_TIMEOUT_S)
    return Copied(during, before + during, ended_s - started_s, cpu_s)


async def _copy_for(
    connection: "asyncpg.Connection[asyncpg.Record]", document: Document, seconds: float
) -> int:
    count, end_s = 0, time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        tag = await connection.copy_to_table(
            copy_format.TABLE,
            source=document.renew(),  # type: ignore[arg-type] # the stubs leave buffers out
            columns=copy_format.COLUMNS,
            format="binary",
            timeout=_COMMIT_TIMEOUT_S,
        )
        count += int(tag.removeprefix("COPY "))
    return count


@click.command()
@click.option("--database-url", required=True, help="Where to store.")
@click.option("--warm-up", default=1.0, help="Seconds before counting.")
@click.option("--seconds", default=5.0, help="Seconds to count.")
def main(database_url: str, warm_up: float, seconds: float) -> None:
    """Print what was copied, as JSON."""
    copied = uvloop.run(copy(database_url, warm_up, seconds))
    click.echo(orjson.dumps(copied._asdict()))


if __name__ == "__main__":
    main()
