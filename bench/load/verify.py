"""The check of a run: every acknowledged id is in Postgres exactly once, as the event it was for.

The comparison runs in Postgres, so that a run of any length fits into memory here: what was
acknowledged goes into a temporary table, payloads into another, and joins find what is amiss.
"""

import asyncio
import time
from dataclasses import dataclass, fields
from pathlib import Path

import asyncpg
import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.load import ledger
from bench.load.database import Session
from bench.load.ledger import ID_CHARS
from bench.load.pool import Run
from ingest.store import tokens

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int32]

SPOOL_TIMEOUT_S = 30.0
_STATEMENT_TIMEOUT_S = 600.0
_CONNECT_TIMEOUT_S = 10.0
_POLL_S = 0.5
_SPOOLED = 202
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_TUPLE = np.dtype(
    [("fields", ">i2"), ("id_bytes", ">i4"), ("id", "V16"), ("n_bytes", ">i4"), ("n", ">i4")]
)

_NO_DIGIT = 255
_DASH_PLACES = [8, 13, 18, 23]
_HEX_PLACES = [place for place in range(ID_CHARS) if place not in _DASH_PLACES]

_TABLES = """
CREATE TEMP TABLE acked (id uuid NOT NULL, payload int NOT NULL);
CREATE TEMP TABLE sent (payload int PRIMARY KEY, name text NOT NULL, params jsonb NOT NULL);
"""
# A range of ids is a range of time: only the partitions of the run are read.
_STORED = """
CREATE TEMP TABLE stored AS
SELECT app_id, id, event_name, event_params FROM events
WHERE id BETWEEN (SELECT id FROM ids ORDER BY id LIMIT 1)
             AND (SELECT id FROM ids ORDER BY id DESC LIMIT 1)
  AND id IN (SELECT id FROM ids)
"""
_COUNTS = """
SELECT
  (SELECT count(*) FROM acked) AS acknowledged,
  (SELECT count(*) FROM acked) - (SELECT count(*) FROM ids) AS acknowledged_twice,
  (SELECT count(*) FROM ids LEFT JOIN stored USING (id) WHERE app_id IS NULL) AS missing,
  (SELECT count(*) - count(DISTINCT id) FROM stored) AS stored_twice,
  (SELECT count(*) FROM stored JOIN acked USING (id) JOIN sent USING (payload)
    WHERE (event_name, event_params) IS DISTINCT FROM (name, params)
      OR app_id IS DISTINCT FROM (SELECT app_id FROM api_keys WHERE secret_sha256 = $1)
  ) AS different
"""


@dataclass(frozen=True)
class Verification:
    """What the comparison counted; all but `acknowledged` are 0 when nothing is amiss."""

    acknowledged: int
    """Ids that came with a 200 or 202: one an answer, of a batch the first and the last."""
    without_id: int = 0
    """Of these, answers whose id is none."""
    acknowledged_twice: int = 0
    """Answers with an id that another answer had."""
    missing: int = 0
    """Acknowledged ids without a row."""
    stored_twice: int = 0
    """Rows beyond the first of an id."""
    different: int = 0
    """Rows that are not what was sent."""
    uncounted: int = 0
    """Answers that the client counted but kept no id of, or the other way round."""

    @property
    def faults(self) -> dict[str, int]:
        """Return what is amiss, and how often."""
        if not self.acknowledged:
            return {"nothing_acknowledged": 1}
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: n for name, n in named.items() if name != "acknowledged" and n}

    @property
    def is_good(self) -> bool:
        """Return whether nothing is amiss."""
        return not self.faults


def verify(database_url: str, run: Run) -> Verification:
    """Compare what was acknowledged with what is stored; raise BenchError.

    Events answered with 202 get 30 seconds to come out of the spool.
    """
    try:
        return asyncio.run(_verify(database_url, run))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        raise BenchError(f"the audit failed: {type(error).__name__}: {error}") from error


async def _verify(database_url: str, run: Run) -> Verification:
    connection = await asyncpg.connect(
        database_url, timeout=_CONNECT_TIMEOUT_S, command_timeout=_STATEMENT_TIMEOUT_S
    )
    try:
        without_id = await _fill(connection, run)
        spool_timeout_s = SPOOL_TIMEOUT_S if run.stats.totals[_SPOOLED] else 0.0
        counts = await _count_when_settled(connection, run.job.key, spool_timeout_s)
    finally:
        await connection.close(timeout=_CONNECT_TIMEOUT_S)
    acknowledged = counts.pop("acknowledged") + without_id
    uncounted = abs(run.stats.successes * run.job.form.ids_kept - acknowledged)
    return Verification(acknowledged, without_id=without_id, uncounted=uncounted, **counts)


async def _count_when_settled(
    connection: Session, key: str, spool_timeout_s: float
) -> dict[str, int]:
    """Count, and count again while rows are missing that may still come out of the spool."""
    end_s = time.monotonic() + spool_timeout_s
    while True:
        await connection.execute("DROP TABLE IF EXISTS stored")
        await connection.execute(_STORED)
        await connection.execute("ANALYZE stored")
        counts = dict(await connection.fetchrow(_COUNTS, tokens.digest(key)) or {})
        if not counts["missing"] or time.monotonic() >= end_s:
            return counts
        await asyncio.sleep(_POLL_S)


async def _fill(connection: Session, run: Run) -> int:
    """Load what was sent and what was acknowledged; return how many ids were none."""
    await connection.execute(_TABLES)
    sent = [(number, each.name, each.params) for number, each in enumerate(run.job.payloads)]
    await connection.copy_records_to_table("sent", records=sent)
    if run.job.acknowledged is None:
        raise ValueError("nothing was kept to compare")
    without_id = await _copy_acknowledged(connection, run.job.acknowledged)
    await connection.execute("CREATE TEMP TABLE ids AS SELECT DISTINCT id FROM acked")
    await connection.execute("ANALYZE acked; ANALYZE ids; ANALYZE sent")
    return without_id


async def _copy_acknowledged(connection: Session, directory: Path) -> int:
    """Fill `acked` from the ledger; return how many ids were none."""
    without_id = 0
    for entries in ledger.read(directory):
        ids, is_id = _parse(entries.ids)
        without_id += int((~is_id).sum())
        await connection.copy_to_table(
            "acked",
            source=_document(ids[is_id], entries.payloads[is_id]),  # type: ignore[arg-type] # no buffers
            format="binary",
        )
    return without_id


def _parse(text: bytes) -> tuple[Bytes, NDArray[np.bool_]]:
    """Return ids (shape (n, 16)) from their text, and which of them are ids (shape (n,))."""
    characters = np.frombuffer(text, dtype=np.uint8).reshape(-1, ID_CHARS)
    digits = _HEX_VALUES[characters[:, _HEX_PLACES]]
    is_id = (digits != _NO_DIGIT).all(axis=1) & (characters[:, _DASH_PLACES] == ord("-")).all(
        axis=1
    )
    ids = (digits[:, 0::2] << 4 | digits[:, 1::2] & 15).astype(np.uint8)
    return ids, is_id


def _document(ids: Bytes, numbers: Numbers) -> memoryview:
    """Return a binary COPY document of (uuid, int) rows."""
    rows = np.zeros(len(ids), dtype=_TUPLE)
    rows["fields"], rows["id_bytes"], rows["n_bytes"] = 2, 16, 4
    rows["id"] = np.ascontiguousarray(ids).view("V16").reshape(-1)
    rows["n"] = numbers
    return memoryview(b"".join((_SIGNATURE, rows.tobytes(), _TRAILER)))


def _hex_values() -> Bytes:
    values = np.full(256, _NO_DIGIT, dtype=np.uint8)
    for value, digit in enumerate("0123456789abcdef"):
        values[ord(digit)] = values[ord(digit.upper())] = value
    return values


_HEX_VALUES = _hex_values()
